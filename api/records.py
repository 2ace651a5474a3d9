"""Read jobs, batches and deliveries wherever they are: in Redis, or in the history.

A job is written to the history before it leaves Redis. So Redis is read first: what it does not
have any more, the history has. Where both have it, the record in Redis counts.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from shared.errors import HistoryDown
from shared.history.search import SCAN_LIMIT, DeliveryFilter, JobFilter, JobSearch
from shared.ids import BATCH_PREFIX, JOB_PREFIX
from shared.jobs import DeliveryState, Job
from shared.store import archive
from shared.store.archive import DECIDE_MS
from shared.store.audit import AuditFilter, AuditPage, EntryId, read_audit
from shared.store.audit import Entry as AuditEntry
from shared.store.batches import (
    BatchPage,
    BatchState,
    list_batch_jobs,
    list_batches,
    read_batch,
)
from shared.store.bulk import Found, find_ids, find_jobs
from shared.store.command import Command
from shared.store.delivery_log import (
    Cursor,
    DeliveryPage,
    Entry,
    list_deliveries,
    read_delivery,
)
from shared.store.dry_run import ReuseSource
from shared.store.group_commit import GroupCommitClient
from shared.store.job_queries import Page, QueuedJob, read_job
from shared.store.run_counts import Sums, UsageColumn, list_run_counts, read_run_counts, usage_value

if TYPE_CHECKING:  # it loads SQLAlchemy, which commands that read the API's modules do not need
    from shared.history.reader import HistoryReader

#: How often a change based on a read of the history is tried if it reaches Redis too late.
_TRIES = 3
#: Threads, and so connections, that one API process uses for the history.
READERS = 4
#: Archived deliveries whose jobs are brought back between two reads of the history.
_PIECE = 200
#: Archived images of a request of which the newest that still exists is reused.
_REUSABLE = 20
#: Run counts of a tenant and day that one script reads.
_PIECE_OF_DAYS = 10

T = TypeVar("T")
E = TypeVar("E")
P = ParamSpec("P")


class Records:
    """Reads over Redis and the history. Every method raises StoreError and HistoryDown."""

    def __init__(
        self,
        committer: GroupCommitClient,
        history: "HistoryReader | None",
        threads: ThreadPoolExecutor,
        now_ms: Callable[[], float],
        *,
        timeout_seconds: float,
    ) -> None:
        """Take the history, if there is one, and how to estimate Redis' clock."""
        self._timeout_seconds = timeout_seconds
        self._run = committer.run
        self._history = history
        self._threads = threads
        self._now_ms = now_ms

    async def _query(self, query: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query of the history in a thread, and do not wait for it longer than the timeout.

        The driver itself would wait forever for a server that is frozen.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await loop.run_in_executor(self._threads, lambda: query(*args, **kwargs))
        except TimeoutError as error:
            raise HistoryDown(f"It did not respond in {self._timeout_seconds:g} s.") from error

    async def _superseded(self, ids: Sequence[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        return await self._run(archive.find_superseded(ids))

    async def _one(
        self,
        live: Command[T | None],
        archived: "Callable[[HistoryReader], T | None]",
        subject: Callable[[T], str],
    ) -> T | None:
        """Read one record; `subject` is the job or batch that decides where it is."""
        found = await self._run(live)
        if found is not None or self._history is None:
            return found
        old = await self._query(archived, self._history)
        if old is None or not await self._superseded([subject(old)]):
            return old
        # it is in Redis again, or deleted
        return await self._run(live)

    async def job(self, job_id: str, tenant: str) -> QueuedJob | None:
        """Read a job of this tenant ('' for any); return None if there is none."""

        def archived(history: "HistoryReader") -> QueuedJob | None:
            job = history.job(job_id, tenant)
            return QueuedJob(job) if job else None

        return await self._one(read_job(job_id, tenant=tenant), archived, lambda one: one.job.id)

    async def _list(self, reads: "_Reads[T, E]", limit: int) -> "_Listed[T, E]":
        """Merge a page of both; a page may be short and still have a next one.

        Redis is read a second time if something came back to it between the reads: it would be in
        neither.
        """
        live, end = await self._run(reads.live)
        if self._history is None or reads.archived is None:
            return _Listed(tuple(live), end)
        found = await self._query(reads.archived, self._history)
        subjects = {reads.subject(one) for one in found}
        superseded = await self._superseded([one for one in subjects if one])
        old = [one for one in found if reads.subject(one) not in superseded]
        ends = [end, reads.position(found[-1]) if len(found) > limit else None]
        later: Sequence[T] = ()
        if superseded - {reads.subject(one) for one in live}:
            later, later_end = await self._run(reads.live)
            ends.append(later_end)
        # what left Redis between the reads is in both, and what came back may have changed
        items = {reads.position(one): one for one in (*old, *live, *later)}
        return _merged([*items.values()], reads, limit, ends)

    async def jobs(self, search: JobSearch) -> Page:
        """List jobs; a page may be short and still have a next one."""
        wanted = search.archived()
        reads: _Reads[QueuedJob, str] = _Reads(
            live=find_jobs(search.live()).then(lambda page: (page.jobs, page.before)),
            archived=(lambda history: [*map(QueuedJob, history.jobs(wanted, search.limit + 1))])
            if wanted
            else None,
            position=lambda one: one.job.id,
            subject=lambda one: one.job.id,
        )
        listed = await self._list(reads, search.limit)
        return Page(listed.items, listed.end)

    async def job_ids(self, search: JobSearch) -> Found:
        """List the ids of jobs."""
        wanted = search.archived()
        reads: _Reads[str, str] = _Reads(
            live=find_ids(search.live()).then(lambda found: (found.ids, found.before)),
            archived=(lambda history: history.job_ids(wanted, search.limit + 1))
            if wanted
            else None,
            position=str,
            subject=str,
        )
        listed = await self._list(reads, search.limit)
        return Found(listed.items, listed.end)

    async def batch(self, batch_id: str, tenant: str) -> BatchState | None:
        """Read a batch of this tenant ('*' for any); return None if there is none."""

        def archived(history: "HistoryReader") -> BatchState | None:
            batch = history.batch(batch_id, "" if tenant == "*" else tenant)
            return BatchState(batch, int(self._now_ms())) if batch else None

        live = read_batch(batch_id, tenant=tenant)
        return await self._one(live, archived, lambda one: one.batch.id)

    async def batches(self, tenant: str, *, before: str | None, limit: int) -> BatchPage:
        """List the batches of a tenant, newest first."""

        def archived(history: "HistoryReader") -> list[BatchState]:
            now = int(self._now_ms())
            return [BatchState(one, now) for one in history.batches(tenant, before, limit + 1)]

        reads: _Reads[BatchState, str] = _Reads(
            live=list_batches(tenant, before=before, limit=limit).then(
                lambda page: (page.batches, page.before)
            ),
            archived=archived,
            position=lambda one: one.batch.id,
            subject=lambda one: one.batch.id,
        )
        listed = await self._list(reads, limit)
        return BatchPage(listed.items, listed.end)

    async def batch_jobs(
        self, batch_id: str, *, tenant: str, after: str | None, most: int
    ) -> tuple[tuple[Job, ...], str | None]:
        """Read jobs of a batch in the order of the request, and the id to continue after."""
        reads: _Reads[Job, str] = _Reads(
            live=list_batch_jobs(batch_id, tenant=tenant, after=after, most=most),
            archived=lambda history: history.batch_jobs(batch_id, after, most + 1),
            position=lambda job: job.id,
            subject=lambda job: job.id,
            newest_first=False,
        )
        listed = await self._list(reads, most)
        return listed.items, listed.end

    async def delivery(self, delivery_id: str, tenant: str) -> Entry | None:
        """Read a delivery of this tenant ('' for any) with its attempts."""
        return await self._one(
            read_delivery(delivery_id, tenant=tenant),
            lambda history: history.delivery(delivery_id, tenant),
            lambda entry: entry.subject,
        )

    async def deliveries(
        self,
        tenant: str,
        *,
        limit: int,
        job_id: str | None = None,
        state: DeliveryState | None = None,
        host: str | None = None,
        below: Cursor | None = None,
    ) -> DeliveryPage:
        """List deliveries of a tenant ('' for all), newest first, failed ones by their failure."""
        by_failure = state is DeliveryState.FAILED and not job_id

        def position(entry: Entry) -> Cursor:
            at = entry.finished_at if by_failure and entry.finished_at else entry.created_at
            return Cursor(at, entry.id)

        wanted = DeliveryFilter(tenant, job_id, state, host, below)
        live = list_deliveries(
            tenant,
            job_id=job_id,
            state=state,
            host=host,
            below=below,
            limit=limit,
            scan_limit=SCAN_LIMIT,
        )
        reads: _Reads[Entry, Cursor] = _Reads(
            live=live.then(lambda page: (page.entries, page.below)),
            archived=lambda history: history.deliveries(wanted, limit + 1),
            position=position,
            subject=lambda entry: entry.subject,
        )
        listed = await self._list(reads, limit)
        return DeliveryPage(listed.items, listed.end)

    async def audit(self, wanted: AuditFilter, limit: int) -> AuditPage:
        """List audit entries, newest first; a page may be short and still have a next one."""
        reads: _Reads[AuditEntry, EntryId] = _Reads(
            live=read_audit(wanted, limit=limit).then(lambda page: (page.entries, page.below)),
            archived=lambda history: history.audit(wanted, limit + 1),
            position=lambda entry: entry.id,
            subject=lambda _: None,
        )
        listed = await self._list(reads, limit)
        return AuditPage(listed.items, listed.end)

    @property
    def now_ms(self) -> float:
        """Redis' clock, as estimated."""
        return self._now_ms()

    @property
    def has_history(self) -> bool:
        """Whether there is a history."""
        return self._history is not None

    async def usage(
        self, tenant: str, *, first: int, last: int, by: Sequence[UsageColumn]
    ) -> dict[tuple[str | int, ...], Sums]:
        """Sum up the usage of a tenant ('' for all) from one day to another, both included.

        Each day is read from Redis if it has the whole day, else from the history.
        """
        found: dict[tuple[str | int, ...], Sums] = {}
        listed = await self._run(list_run_counts(tenant, first=first, last=last))
        for start in range(0, len(listed.names), _PIECE_OF_DAYS):
            piece = listed.names[start : start + _PIECE_OF_DAYS]
            for kind, sums in await self._run(read_run_counts(piece)):
                if kind.day >= listed.first_day:
                    values = tuple(usage_value(kind, column) for column in by)
                    found.setdefault(values, Sums()).add(sums)
        if self._history is not None and first < listed.first_day:
            until = min(last, listed.first_day - 1)
            columns = [column.value for column in by]
            query = self._history.usage
            for values, sums in await self._query(
                query, tenant, first=first, last=until, by=columns
            ):
                found.setdefault(values, Sums()).add(sums)
        return found

    async def reusable(self, tenant: str, request: str) -> ReuseSource | None:
        """Find an archived image of the same request, among the newest."""
        if self._history is None:
            return None
        found = await self._query(self._history.reusable, tenant, request, _REUSABLE)
        superseded = await self._superseded([one.job_id for one in found])
        for one in found:
            if one.job_id not in superseded:
                return one
            # it was brought back to Redis, and a job that succeeded keeps its image; or deleted
            if await self._run(read_job(one.job_id, tenant=tenant)) is not None:
                return one
        return None

    async def bring_back(self, job_id: str, tenant: str) -> bool:
        """Write an archived job back to Redis, so that it can change; return whether it exists."""
        if self._history is None:
            return False
        for _ in range(_TRIES):
            not_after_ms = self._now_ms() + DECIDE_MS
            stored = await self._query(self._history.stored_job, job_id, tenant)
            if stored is None:
                return False
            call = archive.restore_job(*stored, not_after_ms=not_after_ms)
            if (answer := await self._run(call)) != "late":
                return answer == "ok"
        raise HistoryDown("It responds too slowly for a job to be brought back.")

    async def bring_back_subject(self, subject: str, tenant: str) -> bool:
        """Write the job or batch of a delivery back to Redis, unless it is there.

        Other subjects never leave Redis.
        """
        is_job = subject.startswith(JOB_PREFIX)
        if not (is_job or subject.startswith(BATCH_PREFIX)) or await self._superseded([subject]):
            return True
        if is_job or self._history is None:
            return await self.bring_back(subject, tenant)
        of_it = JobFilter(tenant, batch_id=subject)
        job_ids = await self._query(self._history.job_ids, of_it, _PIECE)
        deleted = await self._superseded(job_ids)
        job_id = next((one for one in job_ids if one not in deleted), None)
        return job_id is not None and await self.bring_back(job_id, tenant)

    async def bring_back_all(self, job_ids: Sequence[str]) -> None:
        """Write those of these jobs back to Redis that it does not have."""
        if self._history is None:
            return
        live = await self._superseded(job_ids)
        for job_id in job_ids:
            if job_id not in live:
                await self.bring_back(job_id, "")

    async def bring_back_failed(self, tenant: str, *, since: int, most: int) -> None:
        """Write back the subjects of deliveries that failed since a time (ms), at most `most`.

        `tenant` is '' for all.
        """
        if self._history is None:
            return
        after: Cursor | None = None
        while most > 0:
            query = self._history.failed_subjects
            piece = await self._query(query, tenant, since=since, after=after, limit=_PIECE)
            subjects = dict.fromkeys(subject for subject, _ in piece)
            live = await self._superseded([*subjects])
            for subject in subjects:
                if most > 0 and subject not in live:
                    most -= await self.bring_back_subject(subject, tenant)
            if len(piece) < _PIECE:
                return
            after = piece[-1][1]

    async def delete(self, job_id: str, tenant: str) -> bool:
        """Delete an archived job; return whether there was one that is not in Redis."""
        if self._history is None:
            return False
        for _ in range(_TRIES):
            not_after_ms = self._now_ms() + DECIDE_MS
            job = await self._query(self._history.job, job_id, tenant)
            if job is None or await self._superseded([job_id]):
                return False
            objects = [job.image.key] if job.image and job.image_deleted_at is None else []
            call = archive.delete_archived(job_id, objects, not_after_ms=not_after_ms)
            answer = await self._run(call)
            if answer != "late":
                return answer == "ok"
        raise HistoryDown("It responds too slowly for a job to be deleted.")


@dataclass(frozen=True, slots=True)
class _Reads(Generic[T, E]):
    """How to read a page of both.

    `position` orders the items, and `subject` is the job or batch by which it is decided where an
    item is; None if items never change and never return to Redis. `archived` reads one item more
    than the page has, so that its end is known; None if the history can have none.
    """

    live: Command[tuple[Sequence[T], E | None]]
    archived: "Callable[[HistoryReader], list[T]] | None"
    position: Callable[[T], E]
    subject: Callable[[T], str | None]
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class _Listed(Generic[T, E]):
    """A page, and the position to continue from, None at the end."""

    items: tuple[T, ...]
    end: E | None


def _merged(
    items: Sequence[T], reads: _Reads[T, E], limit: int, ends: Sequence[E | None]
) -> _Listed[T, E]:
    """Merge the items of both; `ends` are where each read stopped, None if there is no more.

    What lies beyond the nearer end is left for the next page, because something may be missing.
    """
    position: Callable[[T], Any] = reads.position
    ordered = sorted(items, key=position, reverse=reads.newest_first)
    reached: list[Any] = [end for end in ends if end is not None]
    end = None
    if reached:
        end = max(reached) if reads.newest_first else min(reached)
        ordered = [
            one
            for one in ordered
            if (position(one) >= end if reads.newest_first else position(one) <= end)
        ]
    if len(ordered) > limit:
        ordered = ordered[:limit]
        end = position(ordered[-1])
    return _Listed(tuple(ordered), end)
