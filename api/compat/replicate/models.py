"""`/replicate/v1/models`: what can be asked for, and who asks, as Replicate's clients see it."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.compat.replicate.parsing import DEFAULTS
from api.context import app_context, current_tenant
from api.problems import Problem, not_found
from api.query import Query
from shared.model_catalog import MODELS, Model
from shared.replicate_schema import version_id
from shared.store.endpoints import read_webhook_secret

#: When a version was made is not known; clients want a time.
_CREATED_AT = "2026-01-01T00:00:00.000Z"
#: What Replicate's packager is called here: nothing was packaged by it.
_COG_VERSION = "1.0.0"
_OUTPUT = {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"}


async def get_models(request: Request) -> Response:
    """List the models."""
    await _caller(request)
    base = app_context(request).settings.public_url
    return _page([_model(model, base) for model in MODELS.values()])


async def get_model(request: Request, owner: str, name: str) -> Response:
    """Read one model with its version."""
    await _caller(request)
    return _json(_model(_found(owner, name), app_context(request).settings.public_url))


async def get_versions(request: Request, owner: str, name: str) -> Response:
    """List the versions of a model: the one that is on offer."""
    await _caller(request)
    return _page([_version(_found(owner, name))])


async def get_version(request: Request, owner: str, name: str, version: str) -> Response:
    """Read a version of a model."""
    await _caller(request)
    model = _found(owner, name)
    if version != version_id(model):
        raise not_found("version")
    return _json(_version(model))


async def get_account(request: Request) -> Response:
    """Say who asks: the tenant."""
    tenant = await _caller(request)
    named = {"type": "organization", "username": tenant, "name": tenant, "github_url": None}
    return _json(named)


async def get_webhook_secret(request: Request) -> Response:
    """Give what signs the tenant's webhooks, for the client's own way to verify them."""
    tenant = await _caller(request)
    secret = await app_context(request).committer.run(read_webhook_secret(tenant))
    if not secret:
        raise not_found("secret")
    return _json({"key": secret})


async def _caller(request: Request) -> str:
    principal = await current_tenant(request)
    Query(request).done()
    return principal.tenant


def _found(owner: str, name: str) -> Model:
    model = MODELS.get(f"{owner}/{name}")
    if model is None:
        raise unknown_model()
    return model


def unknown_model() -> Problem:
    """Say which models there are."""
    return Problem("not_found", f"There is no such model here; there are: {', '.join(MODELS)}.")


def _model(model: Model, base: str) -> dict[str, Any]:
    owner, _, name = model.id.partition("/")
    return {
        "url": f"{base}/v1/models/{model.id}",
        "owner": owner,
        "name": name,
        "description": model.description,
        "visibility": "public",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": _version(model),
    }


def _version(model: Model) -> dict[str, Any]:
    schema = model.schema()
    for name, value in DEFAULTS.items():
        schema["properties"][name] = {**schema["properties"][name], "default": value}
    return {
        "id": version_id(model),
        "created_at": _CREATED_AT,
        "cog_version": _COG_VERSION,
        "openapi_schema": {
            "openapi": "3.1.0",
            "info": {"title": model.name, "version": version_id(model)},
            "paths": {},
            "components": {"schemas": {"Input": schema, "Output": _OUTPUT}},
        },
    }


def _page(results: list[dict[str, Any]]) -> Response:
    return _json({"previous": None, "next": None, "results": results})


def _json(body: dict[str, Any]) -> Response:
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")
