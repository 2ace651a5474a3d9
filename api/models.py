"""`/v1/models`: what can be asked for."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_tenant
from api.problems import not_found
from api.query import Query
from shared.model_catalog import MODELS, Model


async def get_models(request: Request) -> Response:
    """List the models on offer."""
    await current_tenant(request)
    Query(request).done()
    parts = app_context(request)
    return _json({"data": [model_shown(model, parts) for model in MODELS.values()]})


async def get_model(request: Request, owner: str, name: str) -> Response:
    """Read one model: the JSON Schema of its input and the defaults."""
    await current_tenant(request)
    Query(request).done()
    model = MODELS.get(f"{owner}/{name}")
    if model is None:
        raise not_found("model")
    return _json(model_shown(model, app_context(request)))


def price_shown(credits_each: float | None) -> dict[str, Any] | None:
    """Write what one call may cost; the provider tells no cost, so it is always an estimate."""
    return None if credits_each is None else {"credits": credits_each, "estimated": True}


def model_shown(model: Model, parts: AppContext) -> dict[str, Any]:
    """Write a model, with its price as the operator estimates it."""
    return {
        **model_described(model),
        "state": _state(model, parts),
        "price": price_shown(parts.price_of(model.id)),
    }


def model_described(model: Model) -> dict[str, Any]:
    """Write what is public of a model: the same for everybody, and for as long as the API runs."""
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "input_schema": model.schema(),
        "defaults": model.defaults(),
    }


def _state(model: Model, parts: AppContext) -> str:
    """Return what is known of the model: whether it is offered, and whether its calls fail."""
    service = parts.redis_monitor.service
    if service is None:
        return "available"
    if model.id in service.paused_models:
        return "disabled"
    if model.id in service.gone_models:
        return "removed"
    failing = {hold.subject for hold in service.holds if hold.kind == "model"}
    return "failing" if model.id in failing else "available"


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
