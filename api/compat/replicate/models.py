"""`/replicate/v1/models` and `account`, in Replicate's form."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response
from typing_extensions import TypedDict

from api.auth import BEARER
from api.compat.replicate.errors import SHAPE
from api.compat.replicate.parsing import find_model
from api.context import Context, CurrentTenant
from api.problems import Problem, not_found, problems
from api.routing import Route, tenant_router
from shared.model_catalog import Catalog, Model
from shared.replicate_schema import ROOT
from shared.schemas import Object, Time
from shared.store.endpoints import read_webhook_secret

#: The creation date of a version is unknown, but clients expect a time.
_CREATED_AT = "2026-01-01T00:00:00.000Z"
#: The `cog_version`: the models were not packaged with Cog.
_COG_VERSION = "1.0.0"
_OUTPUT = {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"}


class ReplicateRoute(Route):
    """A Replicate route, which also accepts the scheme `Token` of older clients."""

    schemes = frozenset({*BEARER, "token"})
    refuses_members = False  # as Replicate does


router = tenant_router("replicate", route_class=ReplicateRoute, shape=SHAPE)


class ReplicateVersion(TypedDict):
    """A version of a model."""

    id: str
    created_at: Time
    cog_version: str
    openapi_schema: Object


class ReplicateModel(TypedDict):
    """A model with its version."""

    url: str
    owner: str
    name: str
    description: str
    visibility: str
    github_url: str | None
    paper_url: str | None
    license_url: str | None
    run_count: int
    cover_image_url: str | None
    default_example: Object | None
    latest_version: ReplicateVersion


class ReplicateAccount(TypedDict):
    """The account of the caller."""

    type: str
    username: str
    name: str
    github_url: str | None


class ReplicateSecret(TypedDict):
    """The webhook signing secret."""

    key: str


class ReplicatePage(TypedDict):
    """A page in Replicate's form."""

    previous: str | None
    next: str | None
    results: Sequence[Mapping[str, Any]]


_MODEL = f"{ROOT}/models/{{owner}}/{{name}}"
READ = problems("not_found", shape=SHAPE)


@router.get(
    f"{ROOT}/models",
    operation_id="replicate_get_models",
    response_model=ReplicatePage,
    response_description="A page",
    responses=READ,
)
async def get_models(parts: Context, principal: CurrentTenant) -> Response:
    """List the models that your tenant and API token may use."""
    models = parts.models_for(principal).values()
    return _page([_model(model, parts.settings.public_url) for model in models])


@router.get(
    _MODEL,
    operation_id="replicate_get_model",
    response_model=ReplicateModel,
    response_description="The model",
    responses=READ,
)
async def get_model(parts: Context, principal: CurrentTenant, owner: str, name: str) -> Response:
    """Read one model with its version."""
    return _json(
        _model(_found(parts.models_for(principal), owner, name), parts.settings.public_url)
    )


@router.get(
    f"{_MODEL}/versions",
    operation_id="replicate_get_versions",
    response_model=ReplicatePage,
    response_description="A page",
    responses=READ,
)
async def get_versions(parts: Context, principal: CurrentTenant, owner: str, name: str) -> Response:
    """List the versions of a model: the current one."""
    return _page([_version(_found(parts.models_for(principal), owner, name))])


@router.get(
    f"{_MODEL}/versions/{{version}}",
    operation_id="replicate_get_version",
    response_model=ReplicateVersion,
    response_description="The version",
    responses=READ,
)
async def get_version(
    parts: Context, principal: CurrentTenant, owner: str, name: str, version: str
) -> Response:
    """Read a version of a model."""
    model = _found(parts.models_for(principal), owner, name)
    if version != model.version:
        raise not_found("version")
    return _json(_version(model))


@router.get(
    f"{ROOT}/account",
    operation_id="replicate_get_account",
    response_model=ReplicateAccount,
    response_description="The tenant",
    responses=READ,
)
async def get_account(principal: CurrentTenant) -> Response:
    """Return the account of the caller: its tenant."""
    tenant = principal.tenant
    shown: ReplicateAccount = {
        "type": "organization",
        "username": tenant,
        "name": tenant,
        "github_url": None,
    }
    return _json(shown)


@router.get(
    f"{ROOT}/webhooks/default/secret",
    operation_id="replicate_get_webhook_secret",
    response_model=ReplicateSecret,
    response_description="The secret",
    responses=READ,
)
async def get_webhook_secret(parts: Context, principal: CurrentTenant) -> Response:
    """Return the secret that signs the tenant's webhooks, for the client's webhook validation."""
    secret = await parts.committer.run(read_webhook_secret(principal.tenant))
    if not secret:
        raise not_found("secret")
    return _json(ReplicateSecret(key=secret))


def _found(models: Catalog, owner: str, name: str) -> Model:
    model = find_model(models, f"{owner}/{name}")
    if model is None:
        raise unknown_model(models)
    return model


def unknown_model(models: Catalog) -> Problem:
    """Return the problem for an unknown model, with the known ones."""
    names = ", ".join(model.replicate_id for model in models.values())
    return Problem("not_found", f"There is no such model. Available models: {names}.")


def _model(model: Model, base: str) -> ReplicateModel:
    owner, _, name = model.replicate_id.partition("/")
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


def _version(model: Model) -> ReplicateVersion:
    properties = dict(model.parameters.properties)
    for name, value in model.replicate.defaults.items():
        properties[name] = {**properties[name], "default": value}
    return {
        "id": model.version,
        "created_at": _CREATED_AT,
        "cog_version": _COG_VERSION,
        "openapi_schema": {
            "openapi": "3.1.0",
            "info": {"title": model.name, "version": model.version},
            "paths": {},
            "components": {
                "schemas": {
                    "Input": {**model.input, "properties": properties},
                    "Output": _OUTPUT,
                }
            },
        },
    }


def _page(results: Sequence[Mapping[str, Any]]) -> Response:
    return _json(ReplicatePage(previous=None, next=None, results=results))


def _json(body: Mapping[str, object]) -> Response:
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")
