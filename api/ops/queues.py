"""The queues and the provider's gate: state, holds, pause and resume."""

from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator
from api.ops.provider_keys import ProviderKey, keys_shown
from api.ops.tenants import answered
from api.problems import not_found, problems
from api.routing import tenant_router
from shared.celery_app import QueueName
from shared.model_catalog import Catalog
from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.store.bulk import pause, pause_model, resume, resume_model
from shared.store.job_queries import Hold, ServiceStats, service_stats

_MODEL = "/ops/v1/models/{model_id:path}"

router = tenant_router("operators")


class Queue(TypedDict):
    """The state of a queue."""

    name: QueueName
    depth: Count
    oldest_age_seconds: float
    in_flight: Count
    paused: bool
    paused_at: Time | None
    blocked_by: str | None


class GateHold(TypedDict):
    """A hold of new provider calls."""

    reason: str
    scope: Annotated[str, Field(json_schema_extra={"enum": ["all", "key", "team", "model"]})]
    subject: Annotated[str | None, Field(description="Which key, team or model")]
    state: Annotated[
        Literal["active", "probing", "over"],
        Field(description="over: the next call checks whether calls succeed again"),
    ]
    until: Time
    failures_in_a_row: Count
    credits_needed: float | None
    credits_left: float | None
    image_host: str | None


class ModelListing(TypedDict):
    """How the models that 1min.ai lists differ from the catalog, by the last check."""

    checked_at: Time | None
    error: Annotated[str | None, Field(description="Why the last check failed")]
    inactive: Annotated[
        dict[str, str], Field(description="Models of the catalog that cannot be called: status")
    ]
    new: Annotated[list[str], Field(description="Models that the catalog does not have")]


class Gate(TypedDict):
    """What decides whether the provider is called."""

    holds: list[GateHold]
    keys: list[ProviderKey]
    removed_models: list[str]
    paused_models: list[str]


class ListedGate(Gate):
    """The gate, and the models that the provider lists."""

    listing: ModelListing


class QueueList(TypedDict):
    """The queues, and the provider's gate."""

    data: list[Queue]
    gate: ListedGate


class SwitchedModel(TypedDict):
    """A model, and whether its calls are paused."""

    id: str
    paused: bool


@router.get(
    "/ops/v1/queues",
    response_model=QueueList,
    response_description="Both, and the gate",
)
async def get_queues(parts: Context) -> Response:
    """Return the state of the queues and of the provider's gate."""
    now = await parts.committer.run(service_stats())
    shown: QueueList = {
        "data": [queue_shown(now, name) for name in QueueName],
        "gate": {**gate_shown(now), "listing": listing_shown(now, parts.models)},
    }
    return answered(shown)


@router.post(
    "/ops/v1/queues/{queue}/pause",
    response_model=Queue,
    response_description="The queue",
    responses=problems("not_found"),
)
async def pause_queue(parts: Context, audit_context: CurrentOperator, queue: str) -> Response:
    """Pause a queue: nothing new starts, running work continues. Deadlines still apply."""
    name = _existing_queue(queue)
    await parts.committer.run(pause(audit_context, name.value))
    return await _answer(parts, name)


@router.post(
    "/ops/v1/queues/{queue}/resume",
    response_model=Queue,
    response_description="The queue",
    responses=problems("not_found"),
)
async def resume_queue(parts: Context, audit_context: CurrentOperator, queue: str) -> Response:
    """Resume a queue."""
    name = _existing_queue(queue)
    await parts.committer.run(resume(audit_context, name.value))
    return await _answer(parts, name)


@router.post(
    f"{_MODEL}/pause",
    operation_id="pause_model",
    response_model=SwitchedModel,
    response_description="The model",
    responses=problems("not_found"),
)
async def pause_one_model(
    parts: Context, audit_context: CurrentOperator, model_id: str
) -> Response:
    """Pause a model: no new calls; jobs for it are accepted and wait. Deadlines still apply."""
    model = _existing_model(parts, model_id)
    await parts.committer.run(pause_model(audit_context, model))
    return answered(SwitchedModel(id=model, paused=True))


@router.post(
    f"{_MODEL}/resume",
    operation_id="resume_model",
    response_model=SwitchedModel,
    response_description="The model",
    responses=problems("not_found"),
)
async def resume_one_model(
    parts: Context, audit_context: CurrentOperator, model_id: str
) -> Response:
    """Resume a model."""
    model = _existing_model(parts, model_id)
    await parts.committer.run(resume_model(audit_context, model))
    return answered(SwitchedModel(id=model, paused=False))


def _existing_model(parts: AppContext, model_id: str) -> str:
    if model_id not in parts.models:
        raise not_found("model")
    return model_id


def _existing_queue(queue: str) -> QueueName:
    if queue not in set(QueueName):
        raise not_found("queue")
    return QueueName(queue)


async def _answer(parts: AppContext, name: QueueName) -> Response:
    return answered(queue_shown(await parts.committer.run(service_stats()), name))


def queue_shown(now: ServiceStats, name: QueueName) -> Queue:
    """Write the state of a queue; `blocked_by` is why nothing new starts."""
    paused = now.paused.get(name.value)
    blocked_by = now.closed if name is QueueName.GENERATE else "paused" if paused else ""
    return {
        "name": name,
        "depth": now.depth[name],
        "oldest_age_seconds": now.oldest_age[name],
        "in_flight": now.in_flight[name],
        "paused": paused is not None,
        "paused_at": rfc3339(paused) if paused else None,
        "blocked_by": blocked_by or None,
    }


def gate_shown(now: ServiceStats) -> Gate:
    """Write the provider's gate: holds with reason and end, keys and models."""
    return {
        "holds": [_hold_shown(hold, now) for hold in now.holds],
        "keys": keys_shown(now),
        "removed_models": sorted(now.gone_models),
        "paused_models": sorted(now.paused_models),
    }


def listing_shown(now: ServiceStats, models: Catalog) -> ModelListing:
    """Write how the provider's list of models differs from the catalog."""
    found = now.provider_models
    return {
        "checked_at": rfc3339(found.checked_at),
        "error": found.error,
        "inactive": found.inactive(models),
        "new": sorted(found.models.keys() - models.keys()),
    }


def _hold_shown(hold: Hold, now: ServiceStats) -> GateHold:
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
