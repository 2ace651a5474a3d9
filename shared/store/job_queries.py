"""Read jobs, and the state of the whole service."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.errors import ErrorCode
from shared.jobs import Job, Status
from shared.store import operations
from shared.store.codec import job_of, named, pairs, seconds_or_none
from shared.store.command import Command
from shared.store.provider_keys import KeyState, key_states, stored_keys
from shared.store.provider_models import ProviderModels, read_record


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job and why it waits.

    `rank` counts from 0 in its own queue (None if it is not ready, or comes before all queues),
    `gate` is why it is not claimed: a word of the gate, `tenant_limit`, or '' if it only waits for
    its turn. `eta_seconds` is the estimated time to its start, if it can be estimated.
    """

    job: Job
    rank: int | None = None
    gate: str = ""
    eta_seconds: float | None = None


def read_job(job_id: str, *, tenant: str) -> Command[QueuedJob | None]:
    """Read a job of this tenant in Redis; None if there is none."""
    return Command(operations.ReadJob(job_id, tenant), lambda reply: _queued_job(job_id, reply))


def _queued_job(job_id: str, reply: Sequence[Any]) -> QueuedJob | None:
    if not reply:
        return None
    return _stands(job_id, *reply)


def _stands(job_id: str, rank: int, gate: str, eta: int, record: Sequence[str]) -> QueuedJob:
    job = job_of(job_id, pairs(record))
    return QueuedJob(job, rank if rank >= 0 else None, gate, seconds_or_none(eta))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs to list; times in milliseconds, exclusive.

    A job has all pairs of `metadata`, and its prompt all `words` (see `shared.words`).
    """

    status: Status | None = None
    batch_id: str | None = None
    tag: str | None = None
    model: str | None = None
    served_model: str | None = None
    error_code: ErrorCode | None = None
    created_after: int | None = None
    created_before: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs with their queue positions, newest first.

    `before` is the id to continue from, None at the end.
    """

    jobs: tuple[QueuedJob, ...]
    before: str | None


@dataclass(frozen=True, slots=True)
class Search:
    """A search over indexes: a job must be in one of `some` and in each of `rest`.

    Only ids below `before` and `newest` and not below `oldest` are scanned, at most `scan_limit`;
    each may be the prefix of an id. `tag` is one without an index.
    """

    some: Sequence[str]
    rest: Sequence[str]
    wanted: Filter
    limit: int
    scan_limit: int
    before: str | None = None
    oldest: str | None = None
    newest: str | None = None
    tag: str | None = None

    def operation(self, *, records: bool) -> operations.FindJobs:
        """Return the operation of this search, for whole records or for ids alone."""
        bounds = [bound for bound in (self.before, self.newest) if bound]
        return operations.FindJobs(
            upper=f"({min(bounds)}" if bounds else "+",
            lower=f"[{self.oldest}" if self.oldest else "-",
            limit=self.limit,
            scan_limit=self.scan_limit,
            model=self.wanted.model or "",
            served_model=self.wanted.served_model or "",
            created_after=self.wanted.created_after,
            created_before=self.wanted.created_before,
            any_count=len(self.some),
            tag=self.tag or "",
            metadata=orjson.dumps(dict(self.wanted.metadata)).decode(),
            seed=self.wanted.seed,
            words=" ".join(self.wanted.words),
            records=records,
            indexes=(*self.some, *self.rest),
        )


def page_of(reply: Sequence[Any]) -> Page:
    """Read a page of whole records."""
    before, *jobs = reply
    return Page(tuple(_stands(*job) for job in jobs), before or None)


@dataclass(frozen=True, slots=True, order=True)
class Hold:
    """A hold of new provider calls: of all, or of one key, team or model.

    `kind` is `key`, `team`, `model`, or '' for all; `subject` names which. An expired one ends with
    the probe call (`is_probing`). `failures` counts consecutive failed calls; credits are as the
    provider reported, None if it did not.
    """

    reason: str
    kind: str
    subject: str
    ends_at: int
    is_active: bool
    is_probing: bool
    failures: int = 0
    credits_needed: float | None = None
    credits_left: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """The state of the whole service; ages in seconds. Compatible with `shared.metrics.Facts`."""

    now_ms: int
    jobs: Mapping[str, int]
    depth: Mapping[str, int]
    oldest_age: Mapping[str, float]
    in_flight: Mapping[str, int]
    backlogged_groups: Mapping[str, int]
    largest_group: Mapping[str, int]
    webhook_pending: int
    holds: tuple[Hold, ...]
    keys: Mapping[str, KeyState]
    #: models that the provider did not offer when last asked; and paused models
    gone_models: frozenset[str]
    paused_models: Mapping[str, int]
    sweep_age: float
    webhook_parked: int
    #: deliveries being sent to hosts that have not responded lately, and tenants that wait for them
    webhook_unproven: int
    webhook_tenants_waiting: int
    webhook_endpoints: Mapping[str, int]
    #: the host that images could not be downloaded from ('' if none)
    image_host: str
    #: since when each queue is paused
    paused: Mapping[str, int]
    #: why no new call is made at all ('' if calls are made); `paused` takes precedence
    closed: str
    #: seconds for which the history has been failing, or a final job could not move to it
    history_lag: float
    #: final jobs that the history could not store
    history_refused: int
    provider_models: ProviderModels

    @property
    def dead_keys(self) -> int:
        """Count the keys that the provider rejected."""
        return sum(key.dead_since is not None for key in self.keys.values())

    @property
    def unreadable_keys(self) -> int:
        """Count the stored keys that a worker cannot open."""
        return sum(key.is_unreadable for key in self.keys.values())

    @property
    def circuit(self) -> int:
        """1 while the circuit of any key or model is open."""
        return int(any(hold.reason == "provider_down" and hold.is_active for hold in self.holds))

    @property
    def without_credits(self) -> tuple[Hold, ...]:
        """The teams without credits, until a call succeeds."""
        return tuple(hold for hold in self.holds if hold.reason == "provider_credits")

    @property
    def full_holds(self) -> frozenset[str]:
        """The reasons for which no new call is made at all."""
        reasons = {hold.reason for hold in self.holds if not hold.kind and hold.is_active}
        return frozenset({*reasons, *filter(None, [self.closed])})

    @property
    def partial_holds(self) -> frozenset[str]:
        """The reasons for which some key or model is held."""
        return frozenset(hold.reason for hold in self.holds if hold.kind and hold.is_active)


def service_stats() -> Command[ServiceStats]:
    """Read the counters of the whole service, and Redis' time."""
    return Command(operations.ServiceStats(), _facts)


def _facts(reply: Sequence[Any]) -> ServiceStats:
    now, counts, jobs, deliveries, flat, closed, swept, unproven, *behind = reply[:-3]
    refused, models, provider_keys = reply[-3:]
    gate = pairs(flat)
    numbers = {name: int(value) for name, value in pairs(counts).items()}
    queues = {"generate": jobs, "deliver": deliveries}
    paused = {name: int(since) for name, since in named(gate, "paused").items()}
    return ServiceStats(
        now_ms=int(now),
        jobs=numbers,
        depth={name: queue[0] for name, queue in queues.items()},
        oldest_age={name: int(queue[1] or 0) / 1000 for name, queue in queues.items()},
        in_flight={name: queue[2] for name, queue in queues.items()},
        backlogged_groups={name: queue[3] for name, queue in queues.items()},
        largest_group={name: queue[4] for name, queue in queues.items()},
        webhook_pending=numbers.get("webhook_pending", 0),
        holds=tuple(sorted(_holds(gate, int(now)))),
        keys=key_states(gate, stored_keys(provider_keys), int(now)),
        gone_models=frozenset(named(gate, "gone")),
        paused_models=_of_prefix(paused, "model:"),
        sweep_age=(int(now) - int(swept)) / 1000 if swept else 0.0,
        webhook_parked=numbers.get("webhook_parked", 0),
        webhook_unproven=unproven[0],
        webhook_tenants_waiting=unproven[1],
        webhook_endpoints=_of_prefix(numbers, "endpoints_"),
        image_host=gate.get("image_host", ""),
        paused={name: since for name, since in paused.items() if ":" not in name},
        closed=closed,
        history_lag=max((int(now) - float(since)) / 1000 for since in behind if since)
        if any(behind)
        else 0.0,
        history_refused=int(refused),
        provider_models=read_record(pairs(models)),
    )


def _of_prefix(numbers: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Return the numbers whose names have this prefix, without it."""
    return {
        name.removeprefix(prefix): number
        for name, number in numbers.items()
        if name.startswith(prefix)
    }


def _holds(gate: Mapping[str, str], now: int) -> Iterator[Hold]:
    """Read the holds; `hold:<reason>[:<subject>:<id>]` is the time at which each ends."""
    for name, ends in named(gate, "hold").items():
        reason, _, subject = name.partition(":")
        kind, _, subject_id = subject.partition(":")
        needed, _, left = gate.get(f"credits:{subject_id}", "").partition(" ")
        yield Hold(
            reason=reason,
            kind=kind,
            subject=subject_id,
            ends_at=int(float(ends)),
            is_active=float(ends) > now,
            is_probing=f"probe:{name}" in gate,
            failures=int(gate.get(f"fails:{subject}", 0)),
            credits_needed=float(needed) if needed and kind == "team" else None,
            credits_left=float(left) if left and kind == "team" else None,
        )
