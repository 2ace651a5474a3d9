"""Totals and history of jobs, and the running workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ErrorCode
from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.functions import SAMPLE_STEPS_MS, SAMPLED

#: Maximum number of held members listed over all workers.
DESCRIBED = 1000


@dataclass(frozen=True, slots=True)
class Overview:
    """Totals of jobs, including deleted ones, and the stored failed jobs by code.

    `started` counts attempts; `requeued` how often a job was queued again.
    """

    totals: Mapping[str, int]
    failed: Mapping[ErrorCode, int]


def read_totals() -> Command[Overview]:
    """Read the totals for the overview, besides `service_stats`."""
    return Command(operations.ReadTotals(tuple(ErrorCode)), _overview)


def _overview(reply: Sequence[Any]) -> Overview:
    flat, failed = reply
    counts = {name: int(value) for name, value in pairs(flat).items()}
    reused = counts.get("reused", 0)
    totals = {
        "accepted": counts.get("accepted", 0) + reused,
        "started": counts.get("running", 0),
        "requeued": counts.get("queued", 0),
        "succeeded": counts.get("succeeded", 0) + reused,
        "failed": counts.get("failed", 0),
        "canceled": counts.get("canceled", 0),
    }
    return Overview(totals, dict(zip(ErrorCode, failed, strict=True)))


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at a time (milliseconds).

    `counts` is how many jobs were ever accepted, started, queued again, succeeded, failed and
    canceled; `waiting`, `running` and `webhooks` are current numbers, `oldest` the age of the
    oldest (milliseconds), `closed` why no new call was made.
    """

    at: int
    counts: Mapping[str, int]
    waiting: int
    running: int
    webhooks: int
    oldest: int
    closed: str | None


COUNTED = SAMPLED[:6]


def read_samples(*, step_ms: int, back_ms: int) -> Command[tuple[Sample, ...]]:
    """Read the samples of a step (of SAMPLE_STEPS_MS), oldest first; the last is of now.

    There are none for times without a sweep.
    """
    if step_ms not in SAMPLE_STEPS_MS:
        raise ValueError(f"no such step: {step_ms}")
    return Command(operations.ReadSamples(back_ms, step_ms), _samples)


def _samples(reply: Sequence[str]) -> tuple[Sample, ...]:
    return tuple(_sample(*line.split(" ")) for line in reply)


def _sample(at: str, *values: str) -> Sample:
    counts = dict(zip(SAMPLED, values, strict=True))
    return Sample(
        at=int(at),
        counts={name: int(counts[name]) for name in COUNTED},
        waiting=int(counts["waiting"]),
        running=int(counts["running"]),
        webhooks=int(counts["webhooks"]),
        oldest=int(counts["oldest"]),
        closed=None if counts["closed"] == "-" else counts["closed"],
    )


@dataclass(frozen=True, slots=True)
class HeldMember:
    """A job or a delivery that a worker holds; `since` (milliseconds) is known for jobs."""

    id: str
    state: str
    tenant: str
    since: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A running worker process of one queue, as reported with its last lease renewal."""

    name: str
    queue: str
    threads: int
    since: int | None
    renewed_until: int
    held: tuple[HeldMember, ...]


@dataclass(frozen=True, slots=True)
class WorkerList:
    """All running workers, and what is held without a worker having reported it yet."""

    now_ms: int
    workers: tuple[WorkerInfo, ...]
    unreported: tuple[HeldMember, ...]


def list_workers() -> Command[WorkerList]:
    """Read the running workers and what each holds."""
    return Command(operations.ListWorkers(DESCRIBED), _worker_list)


def _worker_list(reply: Sequence[Any]) -> WorkerList:
    now, workers, unreported = reply
    found = sorted((_worker(*worker) for worker in workers), key=lambda one: one.name)
    return WorkerList(int(now), tuple(found), tuple(_held(unreported)))


def _worker(
    name: str, ends: str, threads: str, queue: str, since: str, *held: Sequence[str]
) -> WorkerInfo:
    return WorkerInfo(
        name=name,
        queue=queue,
        threads=int(threads),
        since=int(since) if since else None,
        renewed_until=int(ends),
        held=tuple(_held(held)),
    )


def _held(members: Sequence[Sequence[str]]) -> Iterator[HeldMember]:
    for member_id, state, tenant, since, attempt in members:
        yield HeldMember(member_id, state, tenant, int(since) if since else None, int(attempt or 0))
