"""What an operator sees first: how it stands, and how it went in the last hours."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.ops.queues import gate_shown, queue_shown
from api.ops.tenants import answered
from api.ops.timeseries import series, step_of
from api.query import Query, integer
from api.redis_monitor import Watch
from shared.celery_app import QueueName
from shared.jobs import Status
from shared.serializers import rfc3339
from shared.store.job_queries import ServiceStats, service_stats
from shared.store.stats import WorkerInfo, list_workers, read_history, read_totals

MINUTES_DEFAULT = 60
MINUTES_MAX = 48 * 60


async def get_overview(request: Request) -> Response:
    """Tell how everything stands: jobs, queues, the gate and why it is closed, workers, Redis."""
    await current_operator(request)
    Query(request).done()
    parts = app_context(request)
    run = parts.committer.run
    now, more, workers = await asyncio.gather(
        run(service_stats()), run(read_totals()), run(list_workers())
    )
    return answered(
        {
            "at": rfc3339(now.now_ms),
            "jobs": {status.value: now.jobs.get(status, 0) for status in Status},
            "totals": dict(more.totals),
            "failed_by_code": {code.value: n for code, n in more.failed.items() if n},
            "queues": [queue_shown(now, name) for name in QueueName],
            "gate": {**gate_shown(now), "rate_per_minute": _rate(parts)},
            "webhooks": _webhooks(now),
            "workers": {name.value: _threads(workers.workers, name) for name in QueueName},
            "sweep_age_seconds": now.sweep_age,
            "redis": redis_shown(parts.redis_monitor),
        }
    )


def _rate(parts: AppContext) -> float | None:
    return parts.settings.provider_rate_per_minute or None


def _webhooks(now: ServiceStats) -> Mapping[str, int]:
    return {
        "pending": now.webhook_pending,
        "parked": now.webhook_parked,
        "endpoints_failing": now.webhook_endpoints.get("failing", 0),
        "endpoints_disabled": now.webhook_endpoints.get("disabled", 0),
    }


def _threads(workers: Sequence[WorkerInfo], name: QueueName) -> Mapping[str, int]:
    of_it = [worker.threads for worker in workers if worker.queue == name]
    return {"processes": len(of_it), "threads": sum(of_it)}


def redis_shown(redis_monitor: Watch) -> dict[str, Any]:
    """Write what this process knows of its Redis, a second old at most."""
    return {
        "used_bytes": redis_monitor.redis.used,
        "limit_bytes": redis_monitor.redis.limit or None,
        "durable": redis_monitor.redis.durable,
        "faults": list(redis_monitor.reasons),
    }


async def get_history(request: Request) -> Response:
    """Tell how it went, from what the sweep notes: kept for two days, whoever was restarted.

    Counts are of the step that ends at `at`. Where nobody noted anything, all is null: a gap.
    """
    await current_operator(request)
    query = Query(request)
    minutes = query.take("minutes", integer(1, MINUTES_MAX)) or MINUTES_DEFAULT
    query.done()
    step_ms, back_ms = step_of(minutes), minutes * 60_000
    call = read_history(step_ms=step_ms, back_ms=back_ms + step_ms)
    samples = await app_context(request).committer.run(call)
    return answered(series(samples, step_ms=step_ms, back_ms=back_ms))
