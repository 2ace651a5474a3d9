"""What operators watch: the current state, the history, and the workers."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context
from api.ops.queues import ListedGate, Queue, gate_shown, listing_shown, queue_shown
from api.ops.tenants import answered
from api.ops.timeseries import History, Totals, series, step_of, totals_shown
from api.query import QueryModel, integer, is_given
from api.redis_monitor import RedisMonitor
from api.routing import tenant_router
from shared.celery_app import QueueName
from shared.schemas import Count, StatusCounts, Time
from shared.serializers import counts_shown, rfc3339
from shared.store.job_queries import ServiceStats, service_stats
from shared.store.stats import HeldMember, WorkerInfo, list_workers, read_samples, read_totals

MINUTES_DEFAULT = 60
MINUTES_MAX = 48 * 60
#: Queues, host and process, as `worker.lifecycle` names a process.
_NAME = re.compile(r"[^@]*@(?P<host>.*):(?P<pid>[0-9]+):[0-9a-f]+/[a-z]+")


router = tenant_router("operators")


class OverviewGate(ListedGate):
    """The provider's gate, and its rate limit."""

    rate_per_minute: float | None


class Webhooks(TypedDict):
    """Pending webhooks, and the state of their endpoints."""

    pending: Count
    parked: Count
    endpoints_failing: Count
    endpoints_disabled: Count


class Threads(TypedDict):
    """The worker processes of a queue, and their threads."""

    processes: Count
    threads: Count


class Workers(TypedDict):
    """The workers by queue."""

    generate: Threads
    deliver: Threads


class RedisHealth(TypedDict):
    """What this process knows of its Redis."""

    used_bytes: Count
    limit_bytes: Count | None
    durable: bool
    faults: Annotated[list[str], Field(description="Why it is unsafe for jobs")]


class HistoryHealth(TypedDict):
    """How final jobs move to the history."""

    lag_seconds: Annotated[
        float, Field(description="Seconds for which it has been failing or behind")
    ]
    refused_jobs: Annotated[Count, Field(description="Jobs that it could not store")]


class Overview(TypedDict):
    """The state of the service."""

    at: Time
    jobs: Annotated[StatusCounts, Field(description="Jobs that are kept, by status")]
    totals: Annotated[Totals, Field(description="Totals over all jobs, including deleted ones")]
    failed_by_code: Annotated[
        Mapping[str, Count], Field(description="Failed jobs that are kept, by error code")
    ]
    queues: list[Queue]
    gate: OverviewGate
    webhooks: Webhooks
    workers: Workers
    sweep_age_seconds: float
    redis: RedisHealth
    history: HistoryHealth


@router.get(
    "/ops/v1/overview",
    response_model=Overview,
    response_description="The state of the service",
)
async def get_overview(parts: Context) -> Response:
    """Return the state of the service: jobs, queues, the gate, workers, Redis."""
    run = parts.committer.run
    now, more, workers = await asyncio.gather(
        run(service_stats()), run(read_totals()), run(list_workers())
    )
    shown: Overview = {
        "at": rfc3339(now.now_ms),
        "jobs": counts_shown(now.jobs),
        "totals": totals_shown(more.totals),
        "failed_by_code": {code.value: n for code, n in more.failed.items() if n},
        "queues": [queue_shown(now, name) for name in QueueName],
        "gate": {
            **gate_shown(now),
            "listing": listing_shown(now, parts.models),
            "rate_per_minute": _rate(parts),
        },
        "webhooks": _webhooks(now),
        "workers": {
            "generate": _threads(workers.workers, QueueName.GENERATE),
            "deliver": _threads(workers.workers, QueueName.DELIVER),
        },
        "sweep_age_seconds": now.sweep_age,
        "redis": redis_shown(parts.redis_monitor),
        "history": {"lag_seconds": now.history_lag, "refused_jobs": now.history_refused},
    }
    return answered(shown)


def _rate(parts: AppContext) -> float | None:
    return parts.settings.provider_rate_per_minute or None


def _webhooks(now: ServiceStats) -> Webhooks:
    return {
        "pending": now.webhook_pending,
        "parked": now.webhook_parked,
        "endpoints_failing": now.webhook_endpoints.get("failing", 0),
        "endpoints_disabled": now.webhook_endpoints.get("disabled", 0),
    }


def _threads(workers: Sequence[WorkerInfo], name: QueueName) -> Threads:
    of_it = [worker.threads for worker in workers if worker.queue == name]
    return {"processes": len(of_it), "threads": sum(of_it)}


def redis_shown(redis_monitor: RedisMonitor) -> RedisHealth:
    """Write what this process knows of its Redis, at most one second old."""
    return {
        "used_bytes": redis_monitor.redis.used,
        "limit_bytes": redis_monitor.redis.limit or None,
        "durable": redis_monitor.redis.durable,
        "faults": list(redis_monitor.reasons),
    }


class _HistoryQuery(QueryModel):
    minutes: Annotated[
        int,
        Field(ge=1, le=MINUTES_MAX, description="How far back"),
        is_given(integer(1, MINUTES_MAX)),
    ] = MINUTES_DEFAULT


@router.get(
    "/ops/v1/history",
    response_model=History,
    response_description="The history of the counters",
)
async def get_history(parts: Context, query: Annotated[_HistoryQuery, Query()]) -> Response:
    """Return the history recorded by the sweep, kept for two days across restarts.

    Counts are of the step that ends at `at`. If nothing was recorded, all values are null: a gap.
    """
    step_ms, back_ms = step_of(query.minutes), query.minutes * 60_000
    call = read_samples(step_ms=step_ms, back_ms=back_ms + step_ms)
    samples = await parts.committer.run(call)
    return answered(series(samples, step_ms=step_ms, back_ms=back_ms))


class Held(TypedDict):
    """A job or a delivery that a worker holds."""

    id: Annotated[str, Field(description="A job's or a delivery's")]
    tenant: str
    step: str
    attempt: Count
    since: Time | None


class Worker(TypedDict):
    """A worker process, and what it holds."""

    name: str
    host: str | None
    pid: Count | None
    queue: Annotated[str, Field(json_schema_extra={"enum": [name.value for name in QueueName]})]
    threads: Count
    started_at: Time | None
    lease_until: Time
    held: list[Held]


class WorkerList(TypedDict):
    """The running workers."""

    at: Time
    data: list[Worker]
    unreported: Annotated[
        list[Held], Field(description="Claimed, but not yet reported by a worker")
    ]


@router.get(
    "/ops/v1/workers",
    response_model=WorkerList,
    response_description="The running workers",
)
async def get_workers(parts: Context) -> Response:
    """Return the running worker processes and what each holds, as reported every few seconds.

    `unreported` are held too, but no worker has reported them yet: they were claimed a moment ago.
    """
    found = await parts.committer.run(list_workers())
    shown: WorkerList = {
        "at": rfc3339(found.now_ms),
        "data": [worker_shown(worker) for worker in found.workers],
        "unreported": _held(found.unreported),
    }
    return answered(shown)


def worker_shown(worker: WorkerInfo) -> Worker:
    """Write a process; a killed one is listed until its lease expires."""
    named = _NAME.fullmatch(worker.name)
    return {
        "name": worker.name,
        "host": named["host"] if named else None,
        "pid": int(named["pid"]) if named else None,
        "queue": worker.queue,
        "threads": worker.threads,
        "started_at": rfc3339(worker.since),
        "lease_until": rfc3339(worker.renewed_until),
        "held": _held(worker.held),
    }


def _held(members: Sequence[HeldMember]) -> list[Held]:
    return [
        {
            "id": member.id,
            "tenant": member.tenant,
            "step": member.state,
            "attempt": member.attempt,
            "since": rfc3339(member.since),
        }
        for member in members
    ]
