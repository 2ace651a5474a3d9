"""The archiver thread: final jobs move from Redis to the history.

A lock in Redis lets one worker process at a time do this. A job is committed to the database, then
removed from Redis if it is still the same; after a crash in between it is written again. A process
that lost the lock without noticing cannot write: see `HistoryWriter`.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared import metrics
from shared.errors import HistoryDown
from shared.history.writer import HistoryWriter, NotTheArchiver
from shared.logs import log
from shared.store import archive, audit, run_counts
from shared.store.archive import Archivable, StoredRecord
from shared.store.client import Store
from shared.store.run_counts import Unwritten
from worker.periodic import Skipped

_LOG = log(__name__)
T = TypeVar("T")

INTERVAL_SECONDS = 1.0
#: Another process takes over this long after the last sign of life.
LOCK_SECONDS = 20.0
#: Jobs that were read and not removed are read again after this time.
LEASE_SECONDS = 60.0
#: Jobs read or removed by one script, so that Redis is never blocked for long; and the scripts
#: whose jobs are written in one transaction.
CHUNK = 100
CHUNKS = 5
#: Jobs deleted in the history in one transaction.
MOST_DELETED = 500
#: Deleted tenants that are erased before other work goes on.
MOST_TENANTS = 20
#: Audit entries moved in one transaction.
MOST_ENTRIES = 500
#: How often the archiver looks for images and records past their retention, and for usage and audit
#: entries to write.
RETENTION_SECONDS = 60.0
#: Days of tenants whose usage is read by one script and written in one transaction.
MOST_DAYS = 5


@dataclass(slots=True)
class Archiver:
    """Archive jobs while this process holds the lock."""

    store: Store
    writer: HistoryWriter
    worker: str
    #: on the monotonic clock
    _resting_until: float = field(default=0.0, init=False)
    _next_retention: float = field(default=0.0, init=False)
    _next_usage: float = field(default=0.0, init=False)
    _next_audit: float = field(default=0.0, init=False)

    def archive(self) -> bool:
        """Archive the next jobs; return whether there may be more.

        Raise HistoryDown; Skipped while this process rests or another one archives.
        """
        if time.monotonic() < self._resting_until or not self._is_ours():
            raise Skipped
        try:
            return self._archive()
        except NotTheArchiver:
            _LOG.info("another worker archives now")
            raise Skipped from None
        except HistoryDown:
            metrics.HISTORY_ERRORS.inc()
            # this process may be the only one that cannot reach it: let another take the lock
            self._resting_until = time.monotonic() + LOCK_SECONDS
            self.store.run(archive.record_history_failure())
            raise

    def _is_ours(self) -> bool:
        return self._next(most=0) is not None

    def _next(self, most: int) -> Archivable | None:
        return self.store.run(
            archive.next_archivable(
                self.worker, lock_seconds=LOCK_SECONDS, lease_seconds=LEASE_SECONDS, most=most
            )
        )

    def _archive(self) -> bool:
        if not self.writer.has_begun:
            self.writer.begin()
        # jobs that are read from Redis are not read again for a minute
        self.writer.check()
        more = self._delete() | self._erase_tenants() | self._write_usage() | self._move_audit()
        return self._move() or self._end_retention() or more

    def _delete(self) -> bool:
        """Delete in the history what was deleted by clients."""
        ids = self.store.run(archive.history_deletions(most=MOST_DELETED))
        if ids:
            self.writer.delete(ids)
            self.store.run(archive.history_deletions(ids, most=0))
            _LOG.info("archived jobs deleted", jobs=len(ids))
        return len(ids) == MOST_DELETED

    def _erase_tenants(self) -> bool:
        """Erase in the history what deleted tenants leave, once it has every entry about them."""
        deletions = self.store.run(archive.history_tenant_deletions(most=MOST_TENANTS))
        for deletion in deletions:
            while self._move_entries(settle_ms=0):
                pass
            self.writer.erase_tenant(deletion)
            self.store.run(archive.history_tenant_deletions([deletion.tenant], most=0))
            _LOG.info("deleted tenant erased", tenant=deletion.tenant)
        return len(deletions) == MOST_TENANTS

    def _move(self) -> bool:
        jobs: list[StoredRecord] = []
        batches: dict[str, StoredRecord] = {}
        more = True
        for _ in range(CHUNKS):
            found = self._next(CHUNK)
            if found is None:
                return False
            jobs += found.jobs
            batches |= {batch.id: batch for batch in found.batches}
            more = found.looked_at == CHUNK
            if not more:
                break
        if jobs:
            written = self._write(jobs, batches)
            removed = sum(
                self.store.run(archive.remove_archived(written[start : start + CHUNK]))
                for start in range(0, len(written), CHUNK)
            )
            metrics.ARCHIVED_JOBS.inc(removed)
            _LOG.info("jobs archived", jobs=removed)
        of_jobs = {job.record.get("batch") for job in jobs}
        self._update_batches([one for name, one in batches.items() if name not in of_jobs])
        return more

    def _write(
        self, jobs: Sequence[StoredRecord], batches: Mapping[str, StoredRecord]
    ) -> list[StoredRecord]:
        def write(some: Sequence[StoredRecord]) -> None:
            wanted = {job.record.get("batch") for job in some}
            self.writer.write(some, [one for name, one in batches.items() if name in wanted])

        return _write_each(jobs, write, self._refuse)

    def _update_batches(self, found: Sequence[StoredRecord]) -> None:
        """Write batches whose last live job was deleted: their counts may have changed."""
        written = _write_each(found, self.writer.update_batches, self._refuse)
        if written:
            self.store.run(archive.remove_archived_batches(written))

    def _refuse(self, record: StoredRecord, error: Exception) -> None:
        _LOG.error("job cannot be archived", job_id=record.id, **_cause(error))
        self.store.run(archive.refuse_archivable(record.id))

    def _end_retention(self) -> bool:
        """Delete records and images past their retention, except of jobs that are in Redis."""
        if time.monotonic() < self._next_retention:
            return False
        found = self._next(most=0)
        if found is None:
            return False
        more = self._expire_records(found.now_ms) | self._expire_images(found.now_ms)
        if not more:
            self._next_retention = time.monotonic() + RETENTION_SECONDS
        return more

    def _write_usage(self) -> bool:
        """Write the usage of days that are over; a crash in between writes it again."""
        if time.monotonic() < self._next_usage:
            return False
        found = self.store.run(run_counts.unwritten_run_counts(most=MOST_DAYS))
        names = self._write_days(found)
        if names:
            self.store.run(run_counts.record_written_run_counts(names))
            _LOG.info("usage written", days=len(names))
        more = len(names) == MOST_DAYS
        if not more:
            self._next_usage = time.monotonic() + RETENTION_SECONDS
        return more

    def _write_days(self, found: Unwritten) -> list[str]:
        def write(names: Sequence[str]) -> None:
            wanted = {*names}
            rows = [row for row in found.rows if f"{row[0].day} {row[0].tenant}" in wanted]
            self.writer.write_usage(rows)

        def refuse(name: str, error: Exception) -> None:
            day, tenant = name.split(" ", 1)
            _LOG.error("usage cannot be written", day=day, tenant=tenant, **_cause(error))

        return _write_each(found.names, write, refuse)

    def _move_audit(self) -> bool:
        """Move audit entries; after a crash in between they are in both, and move again."""
        if time.monotonic() < self._next_audit:
            return False
        more = self._move_entries()
        if not more:
            self._next_audit = time.monotonic() + RETENTION_SECONDS
        return more

    def _move_entries(self, settle_ms: int = audit.SETTLE_MS) -> bool:
        """Move the oldest entries; return whether there may be more."""
        entries = self.store.run(audit.archivable_audit(most=MOST_ENTRIES, settle_ms=settle_ms))
        written = _write_each(entries, self.writer.write_audit, _refuse_entry)
        if written:
            self.store.run(audit.remove_archived_audit(written))
            _LOG.info("audit entries archived", entries=len(written))
        return len(written) == MOST_ENTRIES

    def _expire_records(self, now_ms: int) -> bool:
        expired = self.writer.expired_jobs(now_ms, MOST_DELETED)
        if expired:
            live = self.store.run(archive.find_superseded([job_id for job_id, _ in expired]))
            objects = [key for job_id, key in expired if key and job_id not in live]
            self.store.run(archive.schedule_object_deletions(objects))
            self.writer.delete([job_id for job_id, _ in expired])
            _LOG.info("expired jobs deleted", jobs=len(expired))
        return len(expired) == MOST_DELETED

    def _expire_images(self, now_ms: int) -> bool:
        expired = self.writer.expired_images(now_ms, MOST_DELETED)
        live = self.store.run(archive.find_superseded([one.job_id for one in expired]))
        gone = [one for one in expired if one.job_id not in live]
        if gone:
            self.store.run(archive.schedule_object_deletions([one.object_key for one in gone]))
            self.writer.record_deleted_images([one.job_id for one in gone], now_ms)
            _LOG.info("expired images deleted", images=len(gone))
        return len(gone) == MOST_DELETED


def _write_each(
    items: Sequence[T],
    write: Callable[[Sequence[T]], None],
    refuse: Callable[[T, Exception], None],
) -> list[T]:
    """Write items together; return those that were written. Raise HistoryDown, NotTheArchiver.

    One that cannot be written, for whatever reason, is refused and does not hold up the others.
    """
    if not items:
        return []
    try:
        write(items)
    except (HistoryDown, NotTheArchiver):
        raise
    except Exception as error:  # noqa: BLE001  a record may contain anything
        if len(items) > 1:
            middle = len(items) // 2
            first, second = items[:middle], items[middle:]
            return _write_each(first, write, refuse) + _write_each(second, write, refuse)
        metrics.HISTORY_ERRORS.inc()
        refuse(items[0], error)
        return []
    return [*items]


def _refuse_entry(entry: audit.Entry, error: Exception) -> None:
    _LOG.error("audit entry cannot be archived", entry=str(entry.id), **_cause(error))


def _cause(error: Exception) -> dict[str, str]:
    """Return what failed and where, without the text of the error, which may quote the record."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return {"cause": type(error).__name__, "where": f"{last.filename}:{last.lineno}"}
