"""Which jobs and deliveries to list, as Redis and the history are asked for them.

Nothing here loads SQLAlchemy, so that commands start fast.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from shared.history.terms import terms
from shared.ids import JOB_PREFIX, time_letters
from shared.jobs import DeliveryState, Status
from shared.store.bulk import search_of
from shared.store.delivery_log import Cursor
from shared.store.job_queries import Filter, Search

#: Records that one request scans in Redis; a selective filter gives a short page.
SCAN_LIMIT = 1000
#: The id of a job has the API's clock, `created_at` has that of Redis: the difference that
#: `created_after` and `created_before` tolerate.
CLOCK_SKEW_MS = 2000
#: The statuses that jobs of the history can have.
FINAL_STATUSES = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which archived jobs to list, newest first; times in milliseconds, exclusive.

    `tenant` is '' for all. Jobs have all `terms` (see `shared.history.terms`). Ids are below
    `before`, below `newest`, and not below `oldest`.
    """

    tenant: str
    statuses: frozenset[Status] = frozenset(Status)
    batch_id: str | None = None
    terms: tuple[str, ...] = ()
    model: str | None = None
    served_model: str | None = None
    error_code: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    before: str | None = None
    oldest: str | None = None
    newest: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which archived deliveries to list, newest first, or by when they failed.

    `tenant` is '' for all; `below` is where the page before ended.
    """

    tenant: str
    job_id: str | None = None
    state: DeliveryState | None = None
    host: str | None = None
    below: Cursor | None = None


@dataclass(frozen=True, slots=True)
class JobSearch:
    """Which jobs to list, newest first: of a tenant (None: of all), in one of `among`.

    Ids are below `before` and begin with `prefix`.
    """

    tenant: str | None
    wanted: Filter
    limit: int = SCAN_LIMIT
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
        statuses = frozenset(self._statuses) & FINAL_STATUSES
        if not statuses:
            return None
        return JobFilter(
            tenant=self.tenant or "",
            statuses=statuses,
            batch_id=self.wanted.batch_id,
            terms=terms(
                tags=filter(None, [self.wanted.tag]),
                metadata=self.wanted.metadata,
                seed=self.wanted.seed,
                prompt_words=self.wanted.words,
            ),
            model=self.wanted.model,
            served_model=self.wanted.served_model,
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
