"""The queues: how they stand, why they are held, and the switch of each."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.ops.tenants import answered
from api.problems import not_found
from api.query import Query
from shared.celery_app import QueueName
from shared.model_catalog import MODELS
from shared.serializers import rfc3339
from shared.store.bulk import pause, pause_model, resume, resume_model
from shared.store.job_queries import Hold, KeyState, ServiceStats, service_stats


async def get_queues(request: Request) -> Response:
    """Tell how the queues stand, and what the provider's gate is like."""
    await current_operator(request)
    Query(request).done()
    now = await app_context(request).committer.run(service_stats())
    return answered(
        {"data": [queue_shown(now, name) for name in QueueName], "gate": gate_shown(now)}
    )


async def pause_queue(request: Request, queue: str) -> Response:
    """Give nothing new out of a queue; what is begun goes on. Deadlines count all the same."""
    parts, audit_context = app_context(request), await current_operator(request)
    name = _existing_queue(request, queue)
    await parts.committer.run(pause(audit_context, name.value))
    return await _answer(parts, name)


async def resume_queue(request: Request, queue: str) -> Response:
    """Let a queue go on."""
    parts, audit_context = app_context(request), await current_operator(request)
    name = _existing_queue(request, queue)
    await parts.committer.run(resume(audit_context, name.value))
    return await _answer(parts, name)


async def pause_one_model(request: Request, owner: str, name: str) -> Response:
    """Make no new call of a model; jobs for it are accepted and wait. Deadlines count."""
    parts, audit_context = app_context(request), await current_operator(request)
    model = _existing_model(request, owner, name)
    await parts.committer.run(pause_model(audit_context, model))
    return answered({"id": model, "paused": True})


async def resume_one_model(request: Request, owner: str, name: str) -> Response:
    """Let the calls of a model go on."""
    parts, audit_context = app_context(request), await current_operator(request)
    model = _existing_model(request, owner, name)
    await parts.committer.run(resume_model(audit_context, model))
    return answered({"id": model, "paused": False})


def _existing_model(request: Request, owner: str, name: str) -> str:
    Query(request).done()
    model = f"{owner}/{name}"
    if model not in MODELS:
        raise not_found("model")
    return model


def _existing_queue(request: Request, queue: str) -> QueueName:
    Query(request).done()
    if queue not in set(QueueName):
        raise not_found("queue")
    return QueueName(queue)


async def _answer(parts: AppContext, name: QueueName) -> Response:
    return answered(queue_shown(await parts.committer.run(service_stats()), name))


def queue_shown(now: ServiceStats, name: QueueName) -> dict[str, Any]:
    """Write how a queue stands; `blocked_by` says why nothing new is given out of it."""
    paused = now.paused.get(name.value)
    blocked_by = now.closed if name is QueueName.GENERATE else "paused" if paused else ""
    return {
        "name": name.value,
        "depth": now.depth[name],
        "oldest_age_seconds": now.oldest_age[name],
        "in_flight": now.in_flight[name],
        "paused": paused is not None,
        "paused_at": rfc3339(paused) if paused else None,
        "blocked_by": blocked_by or None,
    }


def gate_shown(now: ServiceStats) -> dict[str, Any]:
    """Write the provider's gate: what is held, why and until when; the keys and models seen."""
    return {
        "holds": [_hold_shown(hold, now) for hold in now.holds],
        "keys": [_key_shown(key_id, key, now) for key_id, key in now.keys.items()],
        "removed_models": sorted(now.gone_models),
        "paused_models": sorted(now.paused_models),
    }


def _hold_shown(hold: Hold, now: ServiceStats) -> dict[str, Any]:
    return {
        "reason": hold.reason,
        "scope": hold.kind or "all",
        "subject": hold.subject or None,
        "state": "probing" if hold.is_probing else "active" if hold.is_active else "over",
        "until": rfc3339(hold.ends_at),
        "failures_in_a_row": hold.failures,
        "credits_needed": hold.credits_needed,
        "credits_left": hold.credits_left,
        "image_host": (now.image_host or None) if hold.reason == "image_host" else None,
    }


def _key_shown(key_id: str, key: KeyState, now: ServiceStats) -> dict[str, Any]:
    """Write a key; `held_by` says why it is not used ('' where it is)."""
    held = [
        hold.reason
        for hold in now.holds
        if hold.is_active and (hold.kind, hold.subject) in {("key", key_id), ("team", key.team)}
    ]
    return {
        "id": key_id,
        "masked": key.masked or None,
        "team": key.team,
        "dead_since": rfc3339(key.dead_since),
        "held_by": "provider_auth" if key.dead_since else held[0] if held else None,
    }
