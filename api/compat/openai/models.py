"""`/openai/v1/models`: what can be asked for, by our names and the operator's aliases."""

import re
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context import app_context, current_tenant
from api.problems import Problem
from api.query import Query
from shared.model_catalog import DEFAULT_MODEL, MODELS
from shared.settings import Settings

#: A name that can be written in a setting and in a sentence.
_NAME = re.compile(r"[\w.:/-]{1,100}")


async def get_models(request: Request) -> Response:
    """List the models, as OpenAI does."""
    await current_tenant(request)
    Query(request).done()
    named = _names(app_context(request).settings)
    return _json({"object": "list", "data": [_shown(name, named[name]) for name in named]})


async def get_model(request: Request, model_id: str) -> Response:
    """Read one model, as OpenAI shows it."""
    await current_tenant(request)
    Query(request).done()
    named = _names(app_context(request).settings)
    if model_id not in named:
        settings = app_context(request).settings
        raise Problem("not_found", f"The model {unknown_model(model_id, settings)}")
    return _json(_shown(model_id, named[model_id]))


def unknown_model(name: str, settings: Settings) -> str:
    """Say which models there are, and how the operator adds a name that a program insists on."""
    alias = name if _NAME.fullmatch(name) else "NAME"
    return (
        f"is not offered here. Use one of {', '.join(_names(settings))}, or send none; the "
        f"operator adds other names with DARKROOM_OPENAI_MODELS={alias}={DEFAULT_MODEL}."
    )


def _names(settings: Settings) -> dict[str, str]:
    """Give the model behind each name."""
    return {**{name: name for name in MODELS}, **settings.openai_aliases}


def _shown(name: str, model: str) -> dict[str, Any]:
    # when a model was made is not known; clients want a number
    return {"id": name, "object": "model", "created": 0, "owned_by": model.partition("/")[0]}


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
