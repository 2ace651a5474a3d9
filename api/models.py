"""`/v1/models`: what can be asked for."""

from collections.abc import Mapping
from typing import Annotated, Literal

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context
from api.problems import not_found, problems
from api.routing import tenant_router
from shared.model_catalog import MODELS
from shared.model_catalog import Model as CatalogModel
from shared.schemas import Object

router = tenant_router("models")

ModelState = Literal["available", "failing", "removed", "disabled"]


class Price(TypedDict):
    """What one call may cost."""

    credits: float
    estimated: Literal[True]


class ModelDescription(TypedDict):
    """What is public of a model: the same for everybody, and for as long as the API runs."""

    id: str
    name: str
    description: str
    input_schema: Object
    defaults: Object


class Model(ModelDescription):
    """What can be asked for."""

    state: Annotated[
        ModelState,
        Field(
            description="failing: its calls fail, and are held until one goes well. removed: the "
            "provider said that it does not offer it; jobs are refused with `model_unavailable`, "
            "but for one a minute that asks again. disabled: an operator paused it."
        ),
    ]
    price: Price | None


class ModelList(TypedDict):
    """The models on offer."""

    data: list[Model]


@router.get(
    "/v1/models",
    response_model=ModelList,
    response_description="All of them",
)
async def get_models(parts: Context) -> Response:
    """List the models on offer."""
    shown: ModelList = {"data": [model_shown(model, parts) for model in MODELS.values()]}
    return _json(shown)


@router.get(
    "/v1/models/{owner}/{name}",
    response_model=Model,
    response_description="The model",
    responses=problems("not_found"),
)
async def get_model(parts: Context, owner: str, name: str) -> Response:
    """Read one model: the JSON Schema of its input and the defaults."""
    model = MODELS.get(f"{owner}/{name}")
    if model is None:
        raise not_found("model")
    return _json(model_shown(model, parts))


def price_shown(credits_each: float | None) -> Price | None:
    """Write what one call may cost; the provider tells no cost, so it is always an estimate."""
    return None if credits_each is None else {"credits": credits_each, "estimated": True}


def model_shown(model: CatalogModel, parts: AppContext) -> Model:
    """Write a model, with its price as the operator estimates it."""
    return {
        **model_described(model),
        "state": _state(model, parts),
        "price": price_shown(parts.price_of(model.id)),
    }


def model_described(model: CatalogModel) -> ModelDescription:
    """Write what is public of a model."""
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "input_schema": model.schema(),
        "defaults": model.defaults(),
    }


def _state(model: CatalogModel, parts: AppContext) -> ModelState:
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


def _json(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
