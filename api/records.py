"""Read jobs, batches and deliveries wherever they are: in Redis, or in the history.

A job is written to the history before it leaves Redis. So Redis is read first: what it does not
have any more, the history has. What both have counts as Redis has it.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar

from shared.errors import HistoryDown
from shared.history.reader import DeliveryFilter, HistoryReader, JobFilter
from shared.ids import JOB_PREFIX, time_letters
from shared.jobs import DeliveryState, Job, Status
from shared.store import archive
from shared.store.archive import DECIDE_MS
from shared.store.batches import (
    BatchPage,
    BatchState,
    list_batch_jobs,
    list_batches,
    read_batch,
)
from shared.store.bulk import Found, find_ids, find_jobs, search_of
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
from shared.store.job_queries import Filter, Page, QueuedJob, Search, read_job

#: Records that one request scans in Redis; a selective filter gives a short page.
SCAN_LIMIT = 1000
#: The id of a job has the API's clock, `created_at` has that of Redis: the difference that
#: `created_after` and `created_before` tolerate.
CLOCK_SKEW_MS = 2000
#: How often a list is read again because jobs left the history meanwhile, or a decision is made
#: again because Redis was reached too late.
_TRIES = 3
#: Threads, and so connections, that one API process uses for the history.
READERS = 4
#: Archived deliveries whose jobs are brought back between two reads of the history.
_PIECE = 200
_FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})

T = TypeVar("T")
E = TypeVar("E")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class JobSearch:
    """Which jobs to list, newest first: of a tenant (None: of all), in one of `among`.

    Ids are below `before` and begin with `prefix`.
    """

    tenant: str | None
    wanted: Filter
    limit: int
    before: str | None = None
    prefix: str | None = None
    among: Collection[Status] = tuple(Status)

    @property
    def _statuses(self) -> Collection[Status]:
        return (self.wanted.status,) if self.wanted.status else self.among

    @property
    def oldest(self) -> str | None:
        """The lowest id, or how it begins."""
        bounds = (_id_bound(self.wanted.created_after, -CLOCK_SKEW_MS), self.prefix)
        return max(filter(None, bounds), default=None)

    @property
    def newest(self) -> str | None:
        """The id below which all are, or how it begins."""
        # no id contains a character beyond this one
        ends = f"{self.prefix}~" if self.prefix else None
        bounds = (_id_bound(self.wanted.created_before, CLOCK_SKEW_MS), ends)
        return min(filter(None, bounds), default=None)

    def live(self) -> Search:
        """Return the search in Redis."""
        found = search_of(
            self.tenant, self.wanted, self._statuses, limit=self.limit, scan_limit=SCAN_LIMIT
        )
        return replace(found, before=self.before, oldest=self.oldest, newest=self.newest)

    def archived(self) -> JobFilter | None:
        """Return the search in the history; None if it can have none of these jobs."""
        statuses = frozenset(self._statuses) & _FINAL
        if not statuses:
            return None
        return JobFilter(
            tenant=self.tenant or "",
            statuses=statuses,
            batch_id=self.wanted.batch_id,
            tag=self.wanted.tag,
            model=self.wanted.model,
            error_code=self.wanted.error_code,
            created_after=self.wanted.created_after,
            created_before=self.wanted.created_before,
            before=self.before,
            oldest=self.oldest,
            newest=self.newest,
        )


def _id_bound(milliseconds: int | None, shift: int) -> str | None:
    """Return the prefix of ids of jobs created at that time."""
    if milliseconds is None:
        return None
    return JOB_PREFIX + time_letters(max(milliseconds + shift, 0))


class Records:
    """Reads over Redis and the history. Every method raises StoreError and HistoryDown."""

    def __init__(
        self,
        committer: GroupCommitClient,
        history: HistoryReader | None,
        threads: ThreadPoolExecutor,
        now_ms: Callable[[], float],
    ) -> None:
        """Take the history, if there is one, and how to estimate Redis' clock."""
        self._run = committer.run
        self._history = history
        self._threads = threads
        self._now_ms = now_ms

    async def _query(self, query: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query of the history in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: query(*args, **kwargs))

    async def _superseded(self, ids: Sequence[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        return await self._run(archive.find_superseded(ids))

    async def _one(
        self, live: Command[T | None], archived: Callable[[HistoryReader], T | None], subject: str
    ) -> T | None:
        """Read one record of a job or batch."""
        for _ in range(_TRIES):
            found = await self._run(live)
            if found is not None or self._history is None:
                return found
            old = await self._query(archived, self._history)
            if old is None or not await self._superseded([subject]):
                return old
            # it is in Redis again, or deleted
        return None

    async def job(self, job_id: str, tenant: str) -> QueuedJob | None:
        """Read a job of this tenant ('' for any); return None if there is none."""

        def archived(history: HistoryReader) -> QueuedJob | None:
            job = history.job(job_id, tenant)
            return QueuedJob(job) if job else None

        return await self._one(read_job(job_id, tenant=tenant), archived, job_id)

    async def _list(self, reads: "_Reads[T, E]", limit: int) -> "_Listed[T, E]":
        """Merge a page of both; a page may be short and still have a next one.

        What left the history between the reads would be in neither: then both are read again.
        """
        hidden: frozenset[str] | None = None
        for _ in range(_TRIES):
            live, end = await self._run(reads.live)
            if self._history is None or reads.archived is None:
                return _Listed(tuple(live), end)
            found = await self._query(reads.archived, self._history)
            superseded = await self._superseded([*{reads.subject(one) for one in found}])
            unseen = superseded - {reads.subject(one) for one in live}
            if not unseen or unseen == hidden:
                break
            hidden = unseen
        old = [one for one in found if reads.subject(one) not in superseded]
        old_end = reads.position(found[-1]) if len(found) > limit else None
        return _merged([*live, *old], reads, limit, (end, old_end))

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

        def archived(history: HistoryReader) -> BatchState | None:
            batch = history.batch(batch_id, "" if tenant == "*" else tenant)
            return BatchState(batch, int(self._now_ms())) if batch else None

        return await self._one(read_batch(batch_id, tenant=tenant), archived, batch_id)

    async def batches(self, tenant: str, *, before: str | None, limit: int) -> BatchPage:
        """List the batches of a tenant, newest first."""

        def archived(history: HistoryReader) -> list[BatchState]:
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
        for _ in range(_TRIES):
            found = await self._run(read_delivery(delivery_id, tenant=tenant))
            if found is not None or self._history is None:
                return found
            old = await self._query(self._history.delivery, delivery_id, tenant)
            if old is None or not await self._superseded([old.subject]):
                return old
        return None

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

    async def reusable(self, tenant: str, request: str) -> ReuseSource | None:
        """Find an archived image of the same request."""
        if self._history is None:
            return None
        found = await self._query(self._history.reusable, tenant, request)
        return found if found and not await self._superseded([found.job_id]) else None

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
        """Write the job or batch of a delivery back to Redis."""
        if subject.startswith(JOB_PREFIX) or self._history is None:
            return await self.bring_back(subject, tenant)
        job_id = await self._query(self._history.any_job_of, subject)
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
        """Write back what the deliveries are about that failed since a time (ms), at most `most`.

        `tenant` is '' for all.
        """
        if self._history is None:
            return
        after: Cursor | None = None
        for _ in range(0, most, _PIECE):
            query = self._history.failed_subjects
            piece = await self._query(query, tenant, since=since, after=after, limit=_PIECE)
            subjects = dict.fromkeys(subject for subject, _ in piece)
            live = await self._superseded([*subjects])
            for subject in subjects:
                if subject not in live:
                    await self.bring_back_subject(subject, tenant)
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


_PIECE = 200


@dataclass(frozen=True, slots=True)
class _Reads(Generic[T, E]):
    """How to read a page of both.

    `position` orders the items, and `subject` is the job or batch by which it is decided where an
    item is. `archived` reads one item more than the page has, so that its end is known; None if the
    history can have none.
    """

    live: Command[tuple[Sequence[T], E | None]]
    archived: Callable[[HistoryReader], list[T]] | None
    position: Callable[[T], E]
    subject: Callable[[T], str]
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class _Listed(Generic[T, E]):
    """A page, and the position to continue from, None at the end."""

    items: tuple[T, ...]
    end: E | None


def _merged(
    items: Sequence[T], reads: _Reads[T, E], limit: int, ends: tuple[E | None, E | None]
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
