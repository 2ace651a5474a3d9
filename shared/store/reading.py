"""Reading jobs, and what the service as a whole looks like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ErrorCode
from shared.jobs import Job, Status
from shared.store.call import PREFIX, Argument, Call, job_key
from shared.store.records import job_of, pairs, seconds_or_none


@dataclass(frozen=True, slots=True)
class Standing:
    """A job and why it waits.

    `rank` counts from 0 in its own queue (None where it is not ready), `gate` is why it is not
    claimed: a word of the gate, `tenant_limit`, or '' where it only waits for its turn.
    `eta_seconds` is when it will be, as far as can be told.
    """

    job: Job
    rank: int | None = None
    gate: str = ""
    eta_seconds: float | None = None


def read(job_id: str, *, tenant: str) -> Call[Standing | None]:
    """Read a job of this tenant; None where there is none."""
    call_id = job_id
    return Call(
        "read",
        (job_key(job_id),),
        (job_id, tenant),
        lambda reply: _standing(call_id, reply),
        writes=False,
    )


def _standing(job_id: str, reply: Sequence[Any]) -> Standing | None:
    if not reply:
        return None
    return _stands(job_id, *reply)


def _stands(job_id: str, rank: int, gate: str, eta: int, *record: str) -> Standing:
    job = job_of(job_id, pairs(record))
    return Standing(job, rank if rank >= 0 else None, gate, seconds_or_none(eta))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs to list; times in milliseconds, exclusive."""

    status: Status | None = None
    batch_id: str | None = None
    tag: str | None = None
    model: str | None = None
    error_code: ErrorCode | None = None
    created_after: int | None = None
    created_before: int | None = None

    def indexes(self, tenant: str) -> list[str]:
        """Name the indexes that a job must be in."""
        chosen = {
            "status": self.status,
            "batch": self.batch_id,
            "tag": self.tag,
            "error": self.error_code,
        }
        named = [f"{PREFIX}jobs:{tenant}:{name}:{value}" for name, value in chosen.items() if value]
        return named or [f"{PREFIX}jobs:{tenant}"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs and how they stand, newest first.

    `before` is the id to go on from, None at the end.
    """

    jobs: tuple[Standing, ...]
    before: str | None


def list_jobs(
    tenant: str,
    wanted: Filter,
    *,
    before: str | None = None,
    oldest: str | None = None,
    newest: str | None = None,
    limit: int,
    look: int,
) -> Call[Page]:
    """List jobs, newest first, looking at `look` records at most.

    Only ids below `before` and `newest` and not below `oldest` are looked at; each may be the
    beginning of an id.
    """
    search = Search(
        some=wanted.indexes(tenant)[:1],
        rest=wanted.indexes(tenant)[1:],
        wanted=wanted,
        before=before,
        oldest=oldest,
        newest=newest,
        limit=limit,
        look=look,
    )
    return Call("list", search.keys, search.args(records=True), page_of, writes=False)


@dataclass(frozen=True, slots=True)
class Search:
    """A walk over indexes: a job must be in one of `some` and in each of `rest`.

    `tag` is one that no index stands for. The other members are those of `list_jobs`.
    """

    some: Sequence[str]
    rest: Sequence[str]
    wanted: Filter
    limit: int
    look: int
    before: str | None = None
    oldest: str | None = None
    newest: str | None = None
    tag: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of `list.lua`."""
        return (*self.some, *self.rest)

    def args(self, *, records: bool) -> tuple[Argument, ...]:
        """Give the arguments of `list.lua`, for whole records or for ids alone."""
        bounds = [bound for bound in (self.before, self.newest) if bound]
        return (
            f"({min(bounds)}" if bounds else "+",
            f"[{self.oldest}" if self.oldest else "-",
            self.limit,
            self.look,
            self.wanted.model or "",
            _or_empty(self.wanted.created_after),
            _or_empty(self.wanted.created_before),
            len(self.some),
            self.tag or "",
            "1" if records else "",
        )


def _or_empty(value: int | None) -> Argument:
    return "" if value is None else value


def page_of(reply: Sequence[Any]) -> Page:
    """Read a page of whole records."""
    before, *jobs = reply
    return Page(tuple(_stands(*job) for job in jobs), before or None)


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the service as a whole looks like; ages in seconds. Fits `shared.metrics.Facts`.

    Credits are those of the provider: blocked until a call goes well again; needed and left as the
    provider told, 0 where it did not.
    """

    now_ms: int
    jobs: Mapping[str, int]
    depth: Mapping[str, int]
    oldest_age: Mapping[str, float]
    in_flight: Mapping[str, int]
    groups_waiting: Mapping[str, int]
    deepest_group: Mapping[str, int]
    webhook_pending: int
    holds: frozenset[str]
    dead_keys: int
    #: models that the provider said it does not offer, when last asked
    gone_models: frozenset[str]
    sweep_age: float
    webhook_parked: int
    #: deliveries being sent to hosts that have not answered lately, and tenants that wait for them
    webhook_unproven: int
    webhook_tenants_waiting: int
    webhook_endpoints: Mapping[str, int]
    circuit: int
    credits_blocked: bool
    credits_needed: float
    credits_left: float
    #: the gate as it is kept, and why no new call is made ('' where one may be)
    gate: Mapping[str, str]
    closed: str


def facts() -> Call[ServiceFacts]:
    """Read the counters of the whole service, and Redis' time."""
    return Call("facts", (f"{PREFIX}counts",), (), _facts, writes=False)


def _facts(reply: Sequence[Any]) -> ServiceFacts:
    now, counts, jobs, deliveries, flat, closed, swept, unproven = reply
    gate = pairs(flat)
    numbers = {name: int(value) for name, value in pairs(counts).items()}
    queues = {"generate": jobs, "deliver": deliveries}
    return ServiceFacts(
        now_ms=int(now),
        jobs=numbers,
        depth={name: queue[0] for name, queue in queues.items()},
        oldest_age={name: int(queue[1] or 0) / 1000 for name, queue in queues.items()},
        in_flight={name: queue[2] for name, queue in queues.items()},
        groups_waiting={name: queue[3] for name, queue in queues.items()},
        deepest_group={name: queue[4] for name, queue in queues.items()},
        webhook_pending=numbers.get("webhook_pending", 0),
        holds=_holds(gate, int(now)),
        dead_keys=sum(name.startswith("dead:") for name in gate),
        gone_models=frozenset(
            name.removeprefix("gone:") for name in gate if name.startswith("gone:")
        ),
        sweep_age=(int(now) - int(swept)) / 1000 if swept else 0.0,
        webhook_parked=numbers.get("webhook_parked", 0),
        webhook_unproven=unproven[0],
        webhook_tenants_waiting=unproven[1],
        webhook_endpoints={
            name.removeprefix("endpoints_"): number
            for name, number in numbers.items()
            if name.startswith("endpoints_")
        },
        circuit=int(int(gate.get("hold:provider_down", 0)) > int(now)),
        credits_blocked="hold:provider_credits" in gate,
        credits_needed=float(gate.get("credits:needed", 0)),
        credits_left=float(gate.get("credits:has", 0)),
        gate=gate,
        closed=closed,
    )


def _holds(gate: Mapping[str, str], now: int) -> frozenset[str]:
    """Give the reasons for which no new call is made."""
    held = {
        name.removeprefix("hold:")
        for name, ends in gate.items()
        if name.startswith("hold:") and int(ends) > now
    }
    return frozenset(held | {"paused"} if "paused:generate" in gate else held)
