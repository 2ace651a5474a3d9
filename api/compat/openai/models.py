"""`/openai/v1/models`: the models, by Darkroom's names and the operator's aliases."""

import re
from collections.abc import Mapping
from typing import Literal

import orjson
from starlette.responses import Response
from typing_extensions import TypedDict

from api.compat.openai.errors import SHAPE
from api.context import Context, CurrentTenant
from api.problems import Problem, problems
from api.routing import tenant_router
from shared.model_catalog import DEFAULT_MODEL
from shared.model_catalog.model import OWNER
from shared.settings import Settings
from shared.store.tenants import Principal

#: Names that can stand in a setting and in a sentence.
_NAME = re.compile(r"[\w.:/-]{1,100}")


router = tenant_router("openai", shape=SHAPE)


class OpenAIModel(TypedDict):
    """A model in OpenAI's form."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModelList(TypedDict):
    """The models in OpenAI's form."""

    object: Literal["list"]
    data: list[OpenAIModel]


@router.get(
    "/openai/v1/models",
    operation_id="openai_get_models",
    response_model=OpenAIModelList,
    response_description="All of them",
)
async def get_models(parts: Context, principal: CurrentTenant) -> Response:
    """List the models that your tenant and API key may use, in OpenAI's form."""
    named = _names(parts.settings, principal)
    shown: OpenAIModelList = {
        "object": "list",
        "data": [_shown(name, named[name]) for name in named],
    }
    return _json(shown)


@router.get(
    "/openai/v1/models/{model_id:path}",
    operation_id="openai_get_model",
    response_model=OpenAIModel,
    response_description="The model",
    responses=problems("not_found", shape=SHAPE),
)
async def get_model(parts: Context, principal: CurrentTenant, model_id: str) -> Response:
    """Read one model, in OpenAI's form."""
    named = _names(parts.settings, principal)
    if model_id not in named:
        fault = unknown_model(model_id, parts.settings, principal)
        raise Problem("not_found", f"The model {fault}")
    return _json(_shown(model_id, named[model_id]))


def unknown_model(name: str, settings: Settings, principal: Principal) -> str:
    """Return the problem for an unknown model: the known ones, and how operators add an alias."""
    alias = name if _NAME.fullmatch(name) else "NAME"
    known = ", ".join(_names(settings, principal))
    return (
        f"is not offered here. Use one of {known}, or send none; the operator adds "
        f"other names with DARKROOM_OPENAI_MODELS={alias}={DEFAULT_MODEL}."
    )


def _names(settings: Settings, principal: Principal) -> dict[str, str]:
    """Map each name of a model that the principal may use to that model."""
    named = {**{name: name for name in settings.models}, **settings.openai_aliases}
    return {name: model for name, model in named.items() if principal.may_use(model)}


def _shown(name: str, model: str) -> OpenAIModel:
    # the creation date of a model is unknown, but clients expect a number
    return {"id": name, "object": "model", "created": 0, "owned_by": _owner(model)}


def _owner(model: str) -> str:
    owner, slash, _ = model.partition("/")
    return owner if slash else OWNER


def _json(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
