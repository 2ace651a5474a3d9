"""Row 3: the client's wait beyond the provider and the storage, at half load."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from bench.baseline import bare
from bench.client import Client, pace
from bench.peer_environments import API_KEY
from bench.peer_services import image_peer
from bench.results import Goal, Line, Row, less, must_equal
from bench.run import Run
from bench.service import Provider, Service, provider_of, service

NUMBER = 3
TITLE = "time until a waiting client has its answer, without provider and storage"
LATENCY_SECONDS = 0.3
#: Half of what the stock stack does with its processes: 8 of 0.3 s and some, 22 jobs per second.
PROCESSES = 8
RATE = 10.0
JOBS = 60
OURS, SECOND, OFTEN = (
    "Darkroom",
    "stock Celery, polled every second",
    "stock Celery, polled every 50 ms",
)

#: Requests one image and returns when it is stored.
Wait = Callable[[Client], None]


def measure(run: Run) -> Row:
    """Create ten jobs per second, and wait for each image."""
    with ExitStack() as stack:
        names = ("api", "generate-1", "provider")
        ours = stack.enter_context(service(run.directory / "ours", *names))
        provider = provider_of(ours)
        stack.callback(provider.close)
        provider.behave(LATENCY_SECONDS)
        words = ("-c", str(PROCESSES))
        theirs = stack.enter_context(
            image_peer(run.directory / "celery", "celery", ours, *words, stock="1")
        )
        opened = partial(Client, ours.url, "/v1/jobs", ours.api_key)
        polled = partial(Client, theirs.url, "/jobs", API_KEY)
        alone = partial(_alone, run.directory, ours)
        rounds = run.interleave(
            {
                OURS: partial(_measure, opened, _held, ours, provider, alone),
                SECOND: partial(_measure, polled, partial(_poll, 1.0), ours, provider, alone),
                OFTEN: partial(_measure, polled, partial(_poll, 0.05), ours, provider, alone),
            }
        )
    goals = {SECOND: Goal(10, 20), OFTEN: Goal(2, 3)}
    lines = [
        Line(
            NUMBER,
            f"wait beyond provider and storage, {figure}",
            "ms",
            rounds.of(OURS, figure),
            goal if figure == "p50" else None,
            name,
            rounds.of(name, figure),
            less,
        )
        for figure in ("p50", "p99")
        for name, goal in goals.items()
    ]
    notes = [f"{RATE:g} requests per second at fixed times; the provider takes 300 ms"]
    return Row(NUMBER, TITLE, lines, "each job is one paid call and one object", notes)


def _alone(directory: Path, ours: Service) -> float:
    return bare(directory / "bare", ours, 5).seconds


def _held(client: Client) -> None:
    status = client.ask(wait_seconds=60).body["status"]
    must_equal(status, "succeeded", "status of a job that was waited for")


def _poll(seconds: float, client: Client) -> None:
    job_id = client.ask().body["id"]
    while client.read(job_id)["status"] != "succeeded":
        time.sleep(seconds)


def _measure(
    opened: Callable[[], Client],
    wait: Wait,
    beside: Service,
    provider: Provider,
    alone: Callable[[], float],
) -> Mapping[str, float]:
    needed = alone()
    provider.delete_records()
    stored = beside.stored()
    with ThreadPoolExecutor(JOBS) as threads:
        asked = [
            threads.submit(_timed, opened, wait, time.perf_counter()) for _ in pace(JOBS, 1 / RATE)
        ]
        took = [(one.result() - needed) * 1000 for one in asked]
    must_equal(len(provider.calls("generate")), JOBS, "calls of the provider")
    must_equal(beside.stored() - stored, JOBS, "objects in the storage")
    return {"p50": median(took), "p99": quantiles(took, n=100, method="inclusive")[98]}


def _timed(opened: Callable[[], Client], wait: Wait, due: float) -> float:
    client = opened()
    wait(client)
    took = time.perf_counter() - due
    client.close()
    return took
