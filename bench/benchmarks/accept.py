"""Row 1: accepted jobs per second, each on disk before the response."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import redis

from bench import load
from bench.interleave import Contender, Rounds
from bench.peer_environments import API_KEY, ARQ, PEERS, peer
from bench.results import Goal, Line, Row, less, must_equal
from bench.run import Run
from bench.service import Service, service

NUMBER = 1
TITLE = "jobs accepted per second by `POST /v1/jobs`"
CONNECTIONS = (32, 128)
SECONDS = 3.0
#: Requests per second while latency is measured: a load that the slowest peer sustains too.
RATE = 200.0
BODY = json.dumps(
    {
        "input": {
            "prompt": "A red bicycle leaning against a white wall, product photograph, soft light"
            " from the left, three quarter view, no text",
            "aspect_ratio": "16:9",
            "output_format": "webp",
            "seed": 7,
        },
        "metadata": {"order": "A-17"},
    }
).encode()
OURS, LIMIT, ALONE = "Darkroom", "our route, no store", "FastAPI, no store"
DELAY, TASKIQ, ARQ_NAME = "FastAPI + `task.delay()`", "FastAPI + taskiq", "FastAPI + arq"
_GOALS = {
    DELAY: Goal(4, 7),
    TASKIQ: Goal(1.6, 2.8),
    ARQ_NAME: Goal(1.6, 2.8),
    LIMIT: Goal(0.5, 0.75),
    ALONE: None,
}

#: Counts what is kept for good: the jobs, and the messages for workers.
Count = Callable[[], Mapping[str, int]]


def measure(run: Run) -> Row:
    """Load all programs in turn, over 32 and 128 connections, and then at a steady rate."""
    with ExitStack() as stack:
        contenders = {
            OURS: stack.enter_context(_darkroom(run.directory / "ours")),
            DELAY: stack.enter_context(_peer(run.directory, "celery", PEERS, "celery")),
            TASKIQ: stack.enter_context(_peer(run.directory, "taskiq", PEERS, "taskiq")),
            ARQ_NAME: stack.enter_context(_peer(run.directory, "arq", ARQ, "arq:queue")),
            LIMIT: stack.enter_context(_limit(run.directory / "limit")),
            ALONE: stack.enter_context(_peer(run.directory, "bare", PEERS, "")),
        }
        rounds = run.interleave(contenders)
    return Row(NUMBER, TITLE, _lines(rounds), "each 202 is one job and one message in Redis")


def _lines(rounds: Rounds) -> list[Line]:
    lines = []
    for count in CONNECTIONS:
        figure = f"{count} connections"
        ours = rounds.of(OURS, figure)
        lines += [
            Line(NUMBER, f"accepts, {figure}", "/s", ours, goal, name, rounds.of(name, figure))
            for name, goal in _GOALS.items()
        ]
    ours = rounds.of(OURS, "p99")
    lines += [
        Line(NUMBER, f"p99 at {RATE:g}/s", "ms", ours, None, name, rounds.of(name, "p99"), less)
        for name in (DELAY, TASKIQ, ARQ_NAME)
    ]
    return lines


@contextmanager
def _darkroom(place: Path) -> Iterator[Contender]:
    with service(place, "api") as ours:
        requests = load.posts(ours.url, "/v1/jobs", ours.authorization, BODY)
        yield partial(_measure, ours.url, requests, partial(_kept_by_us, ours))


@contextmanager
def _limit(place: Path) -> Iterator[Contender]:
    with service(place, "api", app="bench.stub_store:create_app") as ours:
        requests = load.posts(ours.url, "/v1/jobs", ours.authorization, BODY)
        yield partial(_measure, ours.url, requests, None)


def _kept_by_us(ours: Service) -> Mapping[str, int]:
    # messages are few by design: the queue is what a job is claimed from
    return {"jobs": ours.count("queued"), "messages": ours.claimable()}


@contextmanager
def _peer(directory: Path, name: str, place: Path, queue: str) -> Iterator[Contender]:
    with (
        peer(directory / name) as running,
        running.front(f"{name}_front", place) as (url, _),
        running.client() as client,
    ):
        requests = load.posts(url, "/jobs", {"Authorization": f"Bearer {API_KEY}"}, BODY)
        yield partial(_measure, url, requests, partial(_kept, client, queue) if queue else None)


def _kept(client: "redis.Redis", queue: str) -> Mapping[str, int]:
    # jobs have a record and an idempotency key each
    is_list = client.type(queue) in {"list", "none"}
    messages = client.llen(queue) if is_list else client.zcard(queue)
    jobs = sum(1 for _ in client.scan_iter("job:*", count=5000))
    return {"jobs": jobs, "messages": int(messages)}


def _measure(url: str, requests: load.NextRequest, count: Count | None) -> Mapping[str, float]:
    before = count() if count else {}
    figures, answers = {}, Counter[int]()
    for connections in CONNECTIONS:
        found = load.closed(url, requests, connections=connections, seconds=SECONDS)
        figures[f"{connections} connections"] = found.rate
        answers += found.statuses
    calm = load.opened(url, requests, rate=RATE, count=int(RATE * SECONDS))
    answers += calm.statuses
    figures["p50"], figures["p99"] = median(calm.seconds) * 1000, calm.percentile(99) * 1000
    must_equal(set(answers), {202}, "statuses of answers")
    if count:
        after = {name: number - before[name] for name, number in count().items()}
        must_equal(after, dict.fromkeys(after, answers[202]), "jobs and messages kept")
    return figures
