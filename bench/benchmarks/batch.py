"""Row 9: 10,000 jobs in one request."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

from bench.client import INPUT
from bench.peer_environments import API_KEY, PEERS, peer
from bench.results import Goal, Line, Row, less, must_equal
from bench.run import Run
from bench.service import service
from sandbox.wait import wait_until

NUMBER = 9
TITLE = "10,000 jobs in one batch request"
JOBS = 10_000
OURS, DELAY = "Darkroom", "10,000 × `delay()`"  # noqa: RUF001  times
_BODY = json.dumps({"jobs": [{"input": {**INPUT, "seed": n}} for n in range(JOBS)]}).encode()

#: Counts what can be claimed, or taken by a worker.
Count = Callable[[], int]


def measure(run: Run) -> Row:
    """Send the same 10,000 entries to both."""
    with ExitStack() as stack:
        ours = stack.enter_context(service(run.directory / "ours", "api"))
        running = stack.enter_context(peer(run.directory / "celery"))
        url, _ = stack.enter_context(running.front("celery_front", PEERS))
        client = stack.enter_context(running.client())
        rounds = run.interleave(
            {
                OURS: partial(_measure, ours.url, "/v1/batches", ours.api_key, ours.claimable),
                DELAY: partial(_measure, url, "/batches", API_KEY, partial(client.llen, "celery")),
            }
        )
    lines = [
        Line(
            NUMBER, what, "s", rounds.of(OURS, figure), goal, DELAY, rounds.of(DELAY, figure), less
        )
        for what, figure, goal in (
            ("until the batch is accepted", "accepted", Goal(10, 30)),
            ("until all can be claimed", "ready", None),
        )
    ]
    return Row(NUMBER, TITLE, lines, "10,000 more jobs can be claimed after each request")


def _measure(url: str, path: str, key: str, count: Count) -> Mapping[str, float]:
    before = count()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    began = time.perf_counter()
    connection.request("POST", path, _BODY, headers)
    answer = connection.getresponse()
    told = answer.read()
    accepted = time.perf_counter() - began
    must_equal(answer.status, 202, f"status of the batch ({told[:200]!r})")
    wait_until(lambda: count() - before >= JOBS, "all jobs to be ready")
    ready = time.perf_counter() - began
    must_equal(count() - before, JOBS, "jobs that can be claimed")
    connection.close()
    return {"accepted": accepted, "ready": ready}
