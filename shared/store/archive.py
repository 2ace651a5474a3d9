"""Move final jobs between Redis and the history.

A job is written to the history before it leaves Redis, so it is always in at least one of them.
Where both have it, Redis counts. A job read from the history changes again only after it was
written back (`restore_job`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command

#: A deletion or restoration based on a read of the history must reach Redis within this time. It is
#: shorter than what a job stays in Redis after it is final, so the record cannot have changed.
DECIDE_MS = 10_000


#: In the order of `final_counts` in `batches.lua`.
_FINAL = ("succeeded", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A webhook delivery as stored in Redis, with the URL of its endpoint (without the query)."""

    id: str
    url: str
    record: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """The record of a final job, or of a batch, as stored in Redis, with its deliveries.

    `withholds_prompt`: its tenant does not archive prompts.
    """

    id: str
    record: dict[str, str]
    deliveries: tuple[StoredDelivery, ...] = ()
    withholds_prompt: bool = False


@dataclass(frozen=True, slots=True)
class Archivable:
    """What is to move to the history next, at `now_ms`; `looked_at` counts the examined jobs."""

    now_ms: int
    looked_at: int
    jobs: tuple[StoredRecord, ...]
    batches: tuple[StoredRecord, ...]


def next_archivable(
    worker: str, *, lock_seconds: float, lease_seconds: float, most: int
) -> Command[Archivable | None]:
    """Return at most `most` jobs to archive; None while another worker archives.

    With them come their batches, and batches whose last live job was deleted.

    Jobs that are not removed by `remove_archived` are returned again after `lease_seconds`.
    """
    operation = operations.NextArchivable(worker, lock_seconds * 1000, lease_seconds * 1000, most)
    return Command(operation, _archivable)


def _archivable(reply: Sequence[Any]) -> Archivable | None:
    if reply[0] == "other":
        return None
    _, now_ms, looked_at, jobs, batches = reply
    return Archivable(
        int(now_ms), looked_at, tuple(map(_stored, jobs)), tuple(map(_stored, batches))
    )


def _stored(described: Sequence[Any]) -> StoredRecord:
    name, record, deliveries, *withholds = described
    return StoredRecord(
        name,
        pairs(record),
        tuple(StoredDelivery(one, url, pairs(flat)) for one, url, flat in deliveries),
        withholds_prompt=withholds == ["1"],
    )


def remove_archived(jobs: Sequence[StoredRecord]) -> Command[int]:
    """Remove jobs that the history has; those that changed since stay. Return how many went."""
    versions = tuple(part for job in jobs for part in (job.id, job.record["version"]))
    return Command(operations.RemoveArchived(versions), int)


def remove_archived_batches(found: Sequence[StoredRecord]) -> Command[None]:
    """Remove batches without live jobs that the history has; those that changed since stay."""
    counts = tuple(
        part
        for batch in found
        for part in (batch.id, " ".join(batch.record.get(one, "0") for one in _FINAL))
    )
    return Command(operations.RemoveArchivedBatches(counts), lambda _: None)


def refuse_archivable(job_id: str) -> Command[None]:
    """Record that the history cannot store a job: it stays, and is returned again after an hour."""
    return Command(operations.RefuseArchivable(job_id), lambda _: None)


def record_history_failure() -> Command[None]:
    """Record that the history is unreachable or refuses writes, until a job moves or none waits."""
    return Command(operations.RecordHistoryFailure(), lambda _: None)


def restore_job(
    job: StoredRecord, batch: StoredRecord | None, *, not_after_ms: float
) -> Command[str]:
    """Write an archived job back, with its batch: `ok`, `missing` (it is deleted) or `late`.

    `late`: Redis' clock is past `not_after_ms`, so the record may be outdated; read it again.
    """
    parts: dict[str, Any] = _parts(job)
    if batch:
        parts["batch"] = _parts(batch)
    return Command(operations.RestoreJob(job.id, not_after_ms, orjson.dumps(parts).decode()), str)


def _parts(stored: StoredRecord) -> dict[str, Any]:
    return {
        "id": stored.id,
        "record": stored.record,
        "deliveries": [
            {"id": one.id, "url": one.url, "record": one.record} for one in stored.deliveries
        ],
    }


def delete_archived(job_id: str, objects: Sequence[str], *, not_after_ms: float) -> Command[str]:
    """Delete an archived job and the objects of its image: `ok`, `live` (in Redis) or `late`.

    No read returns the job from now on; the archiver deletes it in the history later.
    """
    return Command(operations.DeleteArchived(job_id, not_after_ms, tuple(objects)), str)


def find_superseded(ids: Sequence[str]) -> Command[frozenset[str]]:
    """Return which jobs and batches, as read from the history, do not count any more.

    They are in Redis, or deleted.
    """
    return Command(operations.FindSuperseded(tuple(ids)), frozenset)


def history_deletions(deleted: Sequence[str] = (), *, most: int) -> Command[list[str]]:
    """Return the ids to delete in the history, after recording those that are `deleted`."""
    return Command(operations.HistoryDeletions(most, tuple(deleted)), list)


@dataclass(frozen=True, slots=True)
class TenantDeletion:
    """A deleted tenant, and when it was deleted, in milliseconds since 1970."""

    tenant: str
    at: int


def history_tenant_deletions(
    erased: Sequence[str] = (), *, most: int
) -> Command[list[TenantDeletion]]:
    """Return the tenants to erase in the history, after recording those that are `erased`."""

    def read(reply: Sequence[str]) -> list[TenantDeletion]:
        return [TenantDeletion(tenant, int(at)) for tenant, at in pairs(reply).items()]

    return Command(operations.HistoryTenantDeletions(most, tuple(erased)), read)


def schedule_object_deletions(objects: Sequence[str]) -> Command[int]:
    """Schedule the deletion of objects whose retention has ended."""
    return Command(operations.ScheduleObjectDeletions(tuple(objects)), int)
