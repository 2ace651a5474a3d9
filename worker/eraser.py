"""The eraser thread: deletes many jobs, or a whole tenant, step by step.

An erasure is a record in Redis with a lease. Jobs that are deleted no longer match, so whoever
continues it after a crash begins at the start and finds what is left.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.errors import LostLease
from shared.history.search import FINAL_STATUSES, JobSearch
from shared.jobs import Status
from shared.logs import log
from shared.store import archive, erasures, job_submission
from shared.store.archive import DECIDE_MS
from shared.store.bulk import find_ids
from shared.store.client import Store
from shared.store.erasures import Erasure
from shared.store.functions import RUN_COUNTS_DAYS
from shared.store.run_counts import day_at

if TYPE_CHECKING:
    from shared.history.reader import HistoryReader

_LOG = log(__name__)

INTERVAL_SECONDS = 1.0
#: Another process continues an erasure this long after its last progress.
LEASE_SECONDS = 60.0
#: Jobs between two records of the progress.
CHUNK = 100
#: Searches of one turn for jobs that are left.
PASSES = 10
#: Days of usage whose tags one script erases.
DAYS = 10
_NOT_FINAL = (Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class Eraser:
    """Carry out erasures; `now_ms` is Redis' clock."""

    store: Store
    history: "HistoryReader | None"
    now_ms: Callable[[], float]

    def erase(self) -> bool:
        """Carry out the next erasure; return whether one was finished. Raise HistoryDown."""
        erasure = self.store.run(erasures.next_erasure(lease_seconds=LEASE_SECONDS))
        if erasure is None:
            return False
        try:
            return self._finish(erasure)
        except LostLease:
            return False

    def _finish(self, erasure: Erasure) -> bool:
        """Delete everything and record the end; if something is left, it comes after its lease."""
        erasure, is_complete = self._delete_jobs(erasure)
        if not is_complete:
            _LOG.warning("erasure continues later", erasure_id=erasure.id)
            return False
        if erasure.is_tenant and not self._delete_tenant(erasure):
            return False
        self._report(erasure, is_done=True)
        _LOG.info("erasure finished", erasure_id=erasure.id, is_tenant=erasure.is_tenant)
        return True

    def _delete_jobs(self, erasure: Erasure) -> tuple[Erasure, bool]:
        """Delete the jobs in Redis and in the history; return whether none is left.

        A job may move between the two, or change while it is deleted, so all are searched again
        until a search finds none.
        """
        search = _search(erasure)
        erasure, _ = self._delete_live(erasure, search)
        for _ in range(PASSES):
            erasure, archived = self._delete_archived(erasure, search)
            erasure, live = self._delete_live(erasure, search)
            if not archived and not live:
                return erasure, True
        return erasure, False

    def _report(self, erasure: Erasure, more: int = 0, *, is_done: bool = False) -> Erasure:
        """Record progress and renew the lease; return the erasure with its new count."""
        erasure = replace(erasure, deleted=erasure.deleted + more)
        self.store.run(
            erasures.report_erasure(
                erasure.id,
                deleted=erasure.deleted,
                is_done=is_done,
                lease_seconds=LEASE_SECONDS,
            )
        )
        return erasure

    def _cancel_all(self, erasure: Erasure) -> None:
        tenant = erasure.tenant or ""
        search = JobSearch(tenant, erasure.wanted, CHUNK, among=_NOT_FINAL)
        for ids in self._live_ids(search):
            for job_id in ids:
                self.store.run(job_submission.cancel(job_id, tenant=tenant))
            self._report(erasure)

    def _live_ids(self, search: JobSearch) -> "list[tuple[str, ...]]":
        """Return all ids in chunks."""
        chunks, before = [], None
        while True:
            found = self.store.run(find_ids(replace(search, before=before).live()))
            chunks.append(found.ids)
            before = found.before
            if before is None:
                return chunks

    def _delete_live(self, erasure: Erasure, search: JobSearch) -> tuple[Erasure, int]:
        """Delete the final jobs in Redis; return how many there were."""
        if erasure.is_tenant:
            self._cancel_all(erasure)
        count = 0
        for ids in self._live_ids(search):
            deleted = 0
            for job_id in ids:
                answer = self.store.run(
                    job_submission.delete_job(job_id, tenant=erasure.tenant or "*")
                )
                deleted += answer is True
            count += len(ids)
            erasure = self._report(erasure, deleted)
        return erasure, count

    def _delete_archived(self, erasure: Erasure, search: JobSearch) -> tuple[Erasure, int]:
        """Delete the jobs in the history; return how many there were that no deletion hides."""
        wanted, count = search.archived(), 0
        while self.history is not None and wanted is not None:
            not_after_ms = self.now_ms() + DECIDE_MS
            found = self.history.images(wanted, CHUNK)
            hidden = self.store.run(archive.find_superseded([job_id for job_id, _ in found]))
            deleted = 0
            for job_id, key in found:
                if job_id not in hidden:
                    objects = [key] if key else []
                    call = archive.delete_archived(job_id, objects, not_after_ms=not_after_ms)
                    deleted += self.store.run(call) == "ok"
                    count += 1
            erasure = self._report(erasure, deleted)
            if len(found) < CHUNK:
                break
            wanted = replace(wanted, before=found[-1][0])
        return erasure, count

    def _delete_tenant(self, erasure: Erasure) -> bool:
        """Delete all but the jobs; return False if the tenant still has jobs."""
        tenant = erasure.tenant or ""
        if not self.store.run(erasures.delete_tenant(tenant)):
            return False
        self._report(erasure)  # raises if another worker has finished it
        self.store.delete_keys(erasures.keys_of_tenant(tenant).fullmatch)
        # the clock may be a little behind that of Redis
        newest = day_at(int(self.now_ms())) + 1
        for last in range(newest, newest - RUN_COUNTS_DAYS - 1, -DAYS):
            days = range(last, last - DAYS, -1)
            self.store.run(erasures.erase_usage_tags(tenant, days))
        return True


def _search(erasure: Erasure) -> JobSearch:
    """Return the search for the final jobs that are meant."""
    wanted, now = erasure.wanted, erasure.created_at
    if not erasure.is_tenant:
        # jobs that are created later are not meant
        wanted = replace(wanted, created_before=min(wanted.created_before or now, now))
    statuses = tuple(FINAL_STATUSES)
    return JobSearch(erasure.tenant, wanted, CHUNK, prefix=erasure.prefix, among=statuses)
