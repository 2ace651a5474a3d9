"""The archiver thread: final jobs move from Redis to the history.

A lock in Redis lets one worker process at a time do this. A job is committed to the database, then
removed from Redis if it is still the same; after a crash in between it is written again. A process
that lost the lock without noticing cannot write: see `HistoryWriter`.
"""

import time
from dataclasses import dataclass, field

from shared import metrics
from shared.errors import HistoryDown
from shared.history.writer import HistoryWriter, NotTheArchiver
from shared.logs import log
from shared.store import archive, run_counts
from shared.store.archive import Archivable, StoredRecord
from shared.store.client import Store

_LOG = log(__name__)

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
#: How often images and records past their retention are looked for, and usage to write.
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

    def archive(self) -> bool:
        """Archive the next jobs; return whether there may be more. Raise HistoryDown."""
        if time.monotonic() < self._resting_until or not self._is_ours():
            return False
        try:
            return self._archive()
        except NotTheArchiver:
            _LOG.info("another worker archives now")
            return False
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
        more = self._delete() | self._write_usage()
        return self._move() or self._end_retention() or more

    def _delete(self) -> bool:
        """Delete in the history what was deleted by clients."""
        ids = self.store.run(archive.history_deletions(most=MOST_DELETED))
        if ids:
            self.writer.delete(ids)
            self.store.run(archive.history_deletions(ids, most=0))
            _LOG.info("archived jobs deleted", jobs=len(ids))
        return len(ids) == MOST_DELETED

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
            self.writer.write(jobs, [*batches.values()])
            removed = sum(
                self.store.run(archive.remove_archived(jobs[start : start + CHUNK]))
                for start in range(0, len(jobs), CHUNK)
            )
            metrics.ARCHIVED_JOBS.inc(removed)
            _LOG.info("jobs archived", jobs=removed)
        return more

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
        if found.names:
            self.writer.write_usage(found.rows)
            self.store.run(run_counts.record_written_run_counts(found.names))
            _LOG.info("usage written", days=len(found.names), rows=len(found.rows))
        more = len(found.names) == MOST_DAYS
        if not more:
            self._next_usage = time.monotonic() + RETENTION_SECONDS
        return more

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
