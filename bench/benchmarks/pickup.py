"""Row 2: seconds from the accept to the provider call, with an idle queue."""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from statistics import median, quantiles

from bench.client import Client, pace
from bench.interleave import Contender
from bench.peer_environments import API_KEY
from bench.peer_services import image_peer
from bench.results import Goal, Line, Row, must_equal
from bench.run import Run
from bench.service import Provider, Service, provider_of, service
from sandbox.wait import wait_until

NUMBER = 2
TITLE = "time from accepting a job to calling the provider, idle service"
JOBS = 60
PAUSE_SECONDS = 0.05
OURS, BRPOP = "Darkroom", "BRPOP consumer"
_PEERS = {BRPOP: "brpop", "Celery, stock": "celery", "arq": "arq", "taskiq": "taskiq"}
#: Times in the call log are cut to the millisecond; this is what that takes from them on average.
_CUT_MS = 0.5


def measure(run: Run) -> Row:
    """Create a job every 50 ms, and read in the provider's call log when it was called."""
    with ExitStack() as stack:
        names = ("api", "generate-1", "provider")
        ours = stack.enter_context(service(run.directory / "ours", *names))
        provider = provider_of(ours)
        stack.callback(provider.close)
        provider.behave(0)
        contenders = {OURS: _contender(Client(ours.url, "/v1/jobs", ours.api_key), ours, provider)}
        for name, kind in _PEERS.items():
            stock = {"stock": "1"} if kind == "celery" else {}
            theirs = stack.enter_context(image_peer(run.directory / kind, kind, ours, **stock))
            contenders[name] = _contender(Client(theirs.url, "/jobs", API_KEY), ours, provider)
        for contender in contenders.values():
            contender()  # connections are opened, code is loaded
        rounds = run.interleave(contenders)
    lines = [
        Line(
            NUMBER,
            "accepted → called, p50",
            "ms",
            rounds.of(OURS, "p50"),
            Goal(2, 1.3, at_most=True) if name == BRPOP else None,
            name,
            rounds.of(name, "p50"),
        )
        for name in _PEERS
    ]
    p99 = Line(NUMBER, "the same, p99", "ms", rounds.of(OURS, "p99"), Goal(None, 10, at_most=True))
    return Row(NUMBER, TITLE, [*lines, p99], "each job is one paid call and one object")


def _contender(client: Client, beside: Service, provider: Provider) -> Contender:
    return partial(_measure, client, beside, provider)


def _measure(client: Client, beside: Service, provider: Provider) -> Mapping[str, float]:
    provider.delete_records()
    client.reopen()
    stored = beside.stored()
    accepted = {}
    for number in pace(JOBS, PAUSE_SECONDS):
        accepted[number] = client.ask(seed=number).accepted_at
    wait_until(lambda: beside.stored() == stored + JOBS, "all images")
    calls = provider.calls("generate")
    must_equal(len(calls), JOBS, "calls of the provider")
    must_equal({call["outcome"] for call in calls}, {"ok"}, "their outcomes")
    called = {int(call["seed"]): datetime.fromisoformat(call["at"]).timestamp() for call in calls}
    took = [(called[number] - at) * 1000 + _CUT_MS for number, at in accepted.items()]
    return {"p50": median(took), "p99": quantiles(took, n=100, method="inclusive")[98]}
