"""The eraser thread: deletes many jobs, or a whole tenant, in turns.

An erasure is a record in Redis with a lease. Jobs that are deleted no longer match, so whoever
continues it, in its next turn or after a crash, begins at the start and finds what is left.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from shared.errors import DarkroomError, LostLease
from shared.history.search import FINAL_STATUSES, JobSearch
from shared.jobs import Status
from shared.logs import log
from shared.store import archive, erasures, job_submission
from shared.store.archive import DECIDE_MS
from shared.store.bulk import find_ids
from shared.store.client import Store
from shared.store.command import Command
from shared.store.erasures import Erasure
from shared.store.functions import RUN_COUNTS_DAYS
from shared.store.run_counts import day_at

if TYPE_CHECKING:
    from shared.history.reader import HistoryReader

T = TypeVar("T")
_LOG = log(__name__)

INTERVAL_SECONDS = 1.0
#: Another process continues an erasure this long after its last progress.
LEASE_SECONDS = 60.0
#: An erasure that takes longer continues after the others, so that a large one delays no other.
TURN_SECONDS = 5.0
#: Jobs between two records of the progress.
CHUNK = 100
#: Searches in a row that find jobs and delete none, after which an erasure waits for its lease.
PASSES = 3
#: Days of usage whose tags one script erases.
DAYS = 10
_NOT_FINAL = (Status.QUEUED, Status.RUNNING)


class TurnOver(DarkroomError):
    """The turn is over and the erasure is not done; it gets another after `wait_seconds`."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Eraser:
    """Carry out erasures in turns; `now_ms` is Redis' clock."""

    store: Store
    history: "HistoryReader | None"
    now_ms: Callable[[], float]
    turn_seconds: float = TURN_SECONDS

    def erase(self) -> bool:
        """Give the next erasure its turn; return whether there was one. Raise HistoryDown."""
        erasure = self.store.run(erasures.next_erasure(lease_seconds=LEASE_SECONDS))
        if erasure is None:
            return False
        turn = Turn(self, erasure, time.monotonic() + self.turn_seconds)
        try:
            turn.run()
        except TurnOver as over:
            turn.report(lease_seconds=over.wait_seconds)
            if over.wait_seconds:
                _LOG.warning("erasure continues later", erasure_id=erasure.id)
        except LostLease:
            _LOG.info("erasure was finished by another worker", erasure_id=erasure.id)
        return True


@dataclass(slots=True)
class Turn:
    """A turn of an erasure, which ends at `ends_at` (monotonic) or when nothing is left."""

    eraser: Eraser
    erasure: Erasure
    ends_at: float

    def run(self) -> None:
        """Delete everything and record the end; raise TurnOver if something is left."""
        self._delete_jobs()
        erasure = self.erasure
        if erasure.is_tenant:
            self._delete_tenant()
        self._report_end()
        _LOG.info("erasure finished", erasure_id=erasure.id, is_tenant=erasure.is_tenant)

    def report(self, more: int = 0, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Record how many jobs are deleted, and keep the erasure for `lease_seconds`."""
        deleted = self.erasure.deleted + more
        self.erasure = replace(self.erasure, deleted=deleted)
        self._run(
            erasures.report_erasure(self.erasure.id, deleted=deleted, lease_seconds=lease_seconds)
        )

    def _report_end(self) -> None:
        erasure = self.erasure
        self._run(erasures.report_erasure(erasure.id, deleted=erasure.deleted, is_done=True))

    def _run(self, call: Command[T]) -> T:
        return self.eraser.store.run(call)

    def _go_on(self) -> None:
        """Raise TurnOver if the turn is over: the erasures that are due come first."""
        if time.monotonic() > self.ends_at:
            raise TurnOver(0)

    def _delete_jobs(self) -> None:
        """Delete the jobs in Redis and in the history.

        A job may move between the two, or change while it is deleted, so all are searched again
        until a search finds none.
        """
        search = _search(self.erasure)
        self._delete_live(search)
        in_vain = 0
        while in_vain < PASSES:
            before = self.erasure.deleted
            if self._delete_archived(search) + self._delete_live(search) == 0:
                return
            in_vain = in_vain + 1 if self.erasure.deleted == before else 0
            self._go_on()
        raise TurnOver(LEASE_SECONDS)

    def _cancel_all(self) -> None:
        tenant = self.erasure.tenant or ""
        for ids in self._live_ids(JobSearch(tenant, self.erasure.wanted, CHUNK, among=_NOT_FINAL)):
            for job_id in ids:
                self._run(job_submission.cancel(job_id, tenant=tenant))
            self.report()

    def _live_ids(self, search: JobSearch) -> Iterator[tuple[str, ...]]:
        """Return the ids of matching jobs, newest first, in chunks."""
        before = None
        while True:
            found = self._run(find_ids(replace(search, before=before).live()))
            yield found.ids
            before = found.before
            if before is None:
                return
            self._go_on()

    def _delete_live(self, search: JobSearch) -> int:
        """Delete the final jobs in Redis; return how many there were."""
        if self.erasure.is_tenant:
            self._cancel_all()
        count, tenant = 0, self.erasure.tenant or "*"
        for ids in self._live_ids(search):
            calls = (job_submission.delete_job(job_id, tenant=tenant) for job_id in ids)
            self.report(sum(self._run(call) is True for call in calls))
            count += len(ids)
        return count

    def _delete_archived(self, search: JobSearch) -> int:
        """Delete the jobs in the history; return how many there were that no deletion hides."""
        history, wanted, count = self.eraser.history, search.archived(), 0
        while history is not None and wanted is not None:
            not_after_ms = self.eraser.now_ms() + DECIDE_MS
            found = history.images(wanted, CHUNK)
            hidden = self._run(archive.find_superseded([job_id for job_id, _ in found]))
            deleted = 0
            for job_id, key in found:
                if job_id not in hidden:
                    objects = [key] if key else []
                    call = archive.delete_archived(job_id, objects, not_after_ms=not_after_ms)
                    deleted += self._run(call) == "ok"
                    count += 1
            self.report(deleted)
            if len(found) < CHUNK:
                break
            wanted = replace(wanted, before=found[-1][0])
            self._go_on()
        return count

    def _delete_tenant(self) -> None:
        """Delete all but the jobs; raise TurnOver if the tenant still has jobs."""
        tenant = self.erasure.tenant or ""
        while (result := self._run(erasures.delete_tenant(tenant))) == "more":
            self.report()
            self._go_on()
        if result == "busy":
            raise TurnOver(LEASE_SECONDS)
        self.report()  # raises if another worker has finished it
        self.eraser.store.delete_keys(erasures.keys_of_tenant(tenant).fullmatch)
        # the clock may be a little behind that of Redis
        newest = day_at(int(self.eraser.now_ms())) + 1
        for last in range(newest, newest - RUN_COUNTS_DAYS - 1, -DAYS):
            days = range(last, last - DAYS, -1)
            self._run(erasures.erase_usage_tags(tenant, days))


def _search(erasure: Erasure) -> JobSearch:
    """Return the search for the final jobs that are meant."""
    wanted, now = erasure.wanted, erasure.created_at
    if not erasure.is_tenant:
        # jobs that are created later are not meant
        wanted = replace(wanted, created_before=min(wanted.created_before or now, now))
    statuses = tuple(FINAL_STATUSES)
    return JobSearch(erasure.tenant, wanted, CHUNK, prefix=erasure.prefix, among=statuses)
