"""What an operator sees first: how it stands, and how it went in the last hours."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.ops.queues import gate_shown, queue_shown
from api.ops.series import series, step_of
from api.ops.tenants import answered
from api.parts import Parts, operator_of, parts_of
from api.query import Query, whole_number
from api.watch import Watch
from shared.jobs import Status
from shared.queue import QueueName
from shared.store.observing import WorkerFacts, crew, history, overview
from shared.store.reading import ServiceFacts, facts
from shared.view import rfc3339

MINUTES_DEFAULT = 60
MINUTES_MAX = 48 * 60


async def get_now(request: Request) -> Response:
    """Tell how everything stands: jobs, queues, the gate and why it is closed, workers, Redis."""
    await operator_of(request)
    Query(request).done()
    parts = parts_of(request)
    run = parts.committer.run
    now, more, workers = await asyncio.gather(run(facts()), run(overview()), run(crew()))
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
            "redis": redis_shown(parts.watch),
        }
    )


def _rate(parts: Parts) -> float | None:
    return parts.settings.provider_rate_per_minute or None


def _webhooks(now: ServiceFacts) -> Mapping[str, int]:
    return {
        "pending": now.webhook_pending,
        "parked": now.webhook_parked,
        "endpoints_failing": now.webhook_endpoints.get("failing", 0),
        "endpoints_disabled": now.webhook_endpoints.get("disabled", 0),
    }


def _threads(workers: Sequence[WorkerFacts], name: QueueName) -> Mapping[str, int]:
    of_it = [worker.threads for worker in workers if worker.queue == name]
    return {"processes": len(of_it), "threads": sum(of_it)}


def redis_shown(watch: Watch) -> dict[str, Any]:
    """Write what this process knows of its Redis, a second old at most."""
    return {
        "used_bytes": watch.redis.used,
        "limit_bytes": watch.redis.limit or None,
        "durable": watch.redis.durable,
        "faults": list(watch.reasons),
    }


async def get_history(request: Request) -> Response:
    """Tell how it went, from what the sweep notes: kept for two days, whoever was restarted.

    Counts are of the step that ends at `at`. Where nobody noted anything, all is null: a gap.
    """
    await operator_of(request)
    query = Query(request)
    minutes = query.take("minutes", whole_number(1, MINUTES_MAX)) or MINUTES_DEFAULT
    query.done()
    step_ms, back_ms = step_of(minutes), minutes * 60_000
    call = history(step_ms=step_ms, back_ms=back_ms + step_ms)
    samples = await parts_of(request).committer.run(call)
    return answered(series(samples, step_ms=step_ms, back_ms=back_ms))
