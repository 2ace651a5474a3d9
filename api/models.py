"""`/v1/models`: the offered models."""

from collections.abc import Mapping
from typing import Annotated, Literal

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentTenant
from api.problems import not_found, problems
from api.routing import tenant_router
from shared.model_catalog import Model as CatalogModel
from shared.model_catalog import Source
from shared.schemas import Object, Time
from shared.serializers import rfc3339

router = tenant_router("models")

ModelState = Literal["available", "failing", "removed", "disabled"]


class Price(TypedDict):
    """The cost of one call."""

    credits: float
    estimated: Literal[True]


class ModelDescription(TypedDict):
    """The public description of a model: the same for everybody while the API runs."""

    id: str
    name: str
    description: str
    source: Annotated[
        Source,
        Field(
            description="specified: 1min.ai has a document of the model's request and reply. "
            "documented: its pages name the parameters; ranges and values may differ"
        ),
    ]
    input_schema: Object
    defaults: Object
    fallbacks: Annotated[
        list[str], Field(description='What `"fallback_models": "default"` of a job stands for')
    ]


class Listing(TypedDict):
    """What 1min.ai lists about a model; for information only."""

    status: Annotated[
        str, Field(description="`active`, `disabled`, or another word of 1min.ai; `not listed`")
    ]
    credits: Annotated[float | None, Field(description="Of a call, as listed")]
    checked_at: Time


class Model(ModelDescription):
    """A model."""

    state: Annotated[
        ModelState,
        Field(
            description="failing: calls of this model fail; further ones are held until one "
            "succeeds. removed: the provider no longer offers the model; jobs are refused with "
            "`model_unavailable`, except one a minute, which checks. disabled: an operator paused "
            "the model."
        ),
    ]
    price: Price | None
    listing: Annotated[
        Listing | None, Field(description="By the last check of 1min.ai's list; null: none yet")
    ]


class ModelList(TypedDict):
    """The models that the tenant and the key may use."""

    data: list[Model]


@router.get(
    "/v1/models",
    response_model=ModelList,
    response_description="All of them",
)
async def get_models(parts: Context, principal: CurrentTenant) -> Response:
    """List the models that your tenant and API key may use."""
    models = parts.models_for(principal).values()
    shown: ModelList = {"data": [model_shown(model, parts) for model in models]}
    return _json(shown)


@router.get(
    "/v1/models/{model_id:path}",
    response_model=Model,
    response_description="The model",
    responses=problems("not_found"),
)
async def get_model(parts: Context, principal: CurrentTenant, model_id: str) -> Response:
    """Read one model: the JSON Schema of its input, and its defaults."""
    model = parts.models_for(principal).get(model_id)
    if model is None:
        raise not_found("model")
    return _json(model_shown(model, parts))


def price_shown(credits_each: float | None) -> Price | None:
    """Write the cost of a call; always an estimate, because the provider does not publish it."""
    return None if credits_each is None else {"credits": credits_each, "estimated": True}


def model_shown(model: CatalogModel, parts: AppContext) -> Model:
    """Write a model with its estimated price."""
    return {
        **model_described(model),
        "state": _state(model, parts),
        "price": price_shown(parts.price_of(model.id)),
        "listing": _listing(model, parts),
    }


def model_described(model: CatalogModel) -> ModelDescription:
    """Write the public description of a model."""
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "source": model.source,
        "input_schema": model.input,
        "defaults": model.parameters.defaults,
        "fallbacks": list(model.fallbacks),
    }


def _state(model: CatalogModel, parts: AppContext) -> ModelState:
    """Return the state of the model: whether it is offered, and whether its calls fail."""
    service = parts.redis_monitor.service
    if service is None:
        return "available"
    if model.id in service.paused_models:
        return "disabled"
    if model.id in service.gone_models:
        return "removed"
    failing = {hold.subject for hold in service.holds if hold.kind == "model"}
    return "failing" if model.id in failing else "available"


def _listing(model: CatalogModel, parts: AppContext) -> Listing | None:
    service = parts.redis_monitor.service
    if service is None or service.provider_models.checked_at is None:
        return None
    found = service.provider_models
    listed = found.models.get(model.id)
    return {
        "status": found.status(model.id),
        "credits": listed.credits if listed else None,
        "checked_at": rfc3339(found.checked_at or 0),
    }


def _json(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
