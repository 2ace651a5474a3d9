"""Maintenance of the store: leases, sweep, signals, and cleanup."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from shared.jobs import Status
from shared.provider_keys import ProviderKey
from shared.store import keys, operations
from shared.store.budgets import CrossedThreshold, crossed_of
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.transitions import Signal


def renew(
    worker: str, *, queue: str, threads: int, lease_seconds: float, held: Sequence[tuple[str, str]]
) -> Command[list[str]]:
    """Renew the leases of (id, fence) pairs; return the ids that are no longer held."""
    flat = tuple(part for member in held for part in member)
    return Command(operations.Renew(worker, queue, threads, lease_seconds * 1000, flat), list)


def live_threads(client: "redis.Redis") -> dict[str, int]:
    """Count the threads of running workers by queue."""
    seconds, micros = client.time()
    now_ms = float(seconds) * 1000 + float(micros) / 1000
    threads: Counter[str] = Counter()
    for written in client.hgetall(keys.workers()).values():
        ends, count, queue = str(written).split(" ")
        if float(ends) > now_ms:
            threads[queue] += int(count)
    return dict(threads)


def deregister_worker(worker: str) -> Command[None]:
    """Record that this worker process has stopped."""
    return Command(operations.DeregisterWorker(worker), lambda _: None)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that ended outside of a worker's attempt, after `seconds` in total."""

    model: str
    status: Status
    error_code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of one sweep.

    `rescued` has the step of each lost job, `ids` their ids, `failed` model and error code of each
    job that a deadline or a lost worker ended; `ended` includes these, and canceled jobs.
    """

    due: int
    rescued: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    permits: int
    ids: tuple[str, ...] = ()
    ended: tuple[Ended, ...] = ()
    #: thresholds of budgets that were reached since the last sweep
    crossed: tuple[CrossedThreshold, ...] = ()
    #: whether more was left than one sweep may process
    more: bool = False


def sweep(
    worker: str, *, lock_seconds: float, lease_seconds: float, most: int
) -> Command[SweepResult | None]:
    """Run the sweep; return None if another worker is running it."""
    token = uuid.uuid4().hex
    operation = operations.Sweep(token, worker, lock_seconds * 1000, lease_seconds * 1000, most)
    return Command(operation, _swept)


def _swept(reply: Sequence[Any]) -> SweepResult | None:
    if reply[0] == "other":
        return None
    failed = tuple(zip(reply[3][::2], reply[3][1::2], strict=True))
    rescued, ids = tuple(reply[2].split()), tuple(reply[5].split())
    ended, crossed = tuple(map(_ended, reply[6])), tuple(map(crossed_of, reply[8]))
    return SweepResult(
        reply[1], rescued, failed, reply[4], ids, ended, crossed, more=reply[7] == "1"
    )


def _ended(line: str) -> Ended:
    model, status, code, milliseconds = line.split(" ")
    return Ended(model, Status(status), code, int(milliseconds) / 1000)


def report_signal(signal: Signal) -> Command[dict[str, str]]:
    """Report a signal outside of a job's transition; return the gate afterwards."""
    return Command(operations.ReportSignal(signal.text), pairs)


def register_keys(
    pool: Sequence[ProviderKey], unreadable: Sequence[str] = ()
) -> Command[dict[str, str]]:
    """Register the keys of a worker, and the ids of stored ones it cannot open; return the gate."""
    each = [part for key in pool for part in (key.id, key.source, key.masked, key.team)]
    each += [part for key_id in unreadable for part in (key_id, "unreadable", "", "")]
    return Command(operations.RegisterKeys(tuple(each)), pairs)


def delete_expired(*, most: int) -> Command[int]:
    """Delete final jobs and images after their retention; return how many.

    Long unused, disabled endpoints are deleted with them.
    """
    return Command(operations.DeleteExpired(most), int)


def object_deletions(deleted: Sequence[str] = (), *, most: int) -> Command[list[str]]:
    """Return the keys of objects to delete next, after recording those that are `deleted`."""
    return Command(operations.ObjectDeletions(most, tuple(deleted)), list)


def postpone_object_deletions(refused: Sequence[str]) -> Command[int]:
    """Postpone the deletion of objects that the storage refused to delete; return how many."""
    return Command(operations.PostponeObjectDeletions(tuple(refused)), int)
