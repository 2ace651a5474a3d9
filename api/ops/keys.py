"""The API keys of tenants."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends
from starlette.responses import Response
from typing_extensions import TypedDict

from api.budgets import Budget, budget_shown, has_price
from api.context import AppContext, Context, CurrentOperator, CurrentTenant
from api.jobs.schemas import moment_of
from api.json_body import JsonBody
from api.ops.schemas import KeyBody, KeyLimitsBody, RotateBody
from api.ops.tenants import answered
from api.people import person_of
from api.problems import BODY, FieldError, Problem, invalid, not_found, problems
from api.routing import tenant_router
from shared.api_keys import OPERATORS, Scope, is_key_id, new_key
from shared.api_keys import Key as NewSecret
from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.store.api_keys import (
    ApiKeyInfo,
    KeyRejected,
    add_api_key,
    list_api_keys,
    revoke_api_key,
    rotate_api_key,
    set_key_limits,
)
from shared.store.tenants import NAME, KeyState

_KEYS = "/ops/v1/tenants/{tenant}/keys"

router = tenant_router("operators")


class Key(TypedDict):
    """A key without its secret."""

    id: str
    prefix: str
    state: KeyState
    scopes: list[Scope]
    label: str
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    replaced_by: str | None
    monthly_credits: float | None
    requests_per_minute: Count | None
    models: list[str] | None
    budgets: list[Budget]


class NewKey(Key):
    """A new key with its secret."""

    key: str


class KeyList(TypedDict):
    """The keys of a tenant."""

    data: list[Key]


@router.get(
    _KEYS,
    response_model=KeyList,
    response_description="All of them",
    responses=problems("not_found"),
)
async def get_keys(parts: Context, tenant: str) -> Response:
    """List a tenant's keys, oldest first, with those that ended in the last 30 days."""
    keys = None
    if NAME.fullmatch(tenant):
        keys = await parts.committer.run(list_api_keys(tenant))
    if keys is None:
        raise not_found("tenant")
    shown: KeyList = {"data": [key_shown(key, parts.prices) for key in keys]}
    return answered(shown)


@router.post(
    _KEYS,
    status_code=201,
    response_model=NewKey,
    response_description="The key, shown once",
    responses=problems("not_found", "tenant_deleting", "too_many_keys", "redis_full", *BODY),
)
async def post_key(
    parts: Context,
    audit_context: CurrentOperator,
    tenant: str,
    body: Annotated[KeyBody, Depends(JsonBody(KeyBody))],
) -> Response:
    """Create a key for a tenant. It is shown only in this response."""
    key, ends = new_key(), moment_of(body.expires_at)
    if not NAME.fullmatch(tenant):
        raise not_found("tenant")
    call = add_api_key(
        audit_context,
        tenant,
        key,
        body.scopes,
        label=body.label,
        expires_at=ends,
        limits=body.changes(),
    )
    return _made(parts, key, await parts.committer.run(call))


@router.patch(
    f"{_KEYS}/{{key_id}}",
    operation_id="patch_key",
    response_model=Key,
    response_description="The key",
    responses=problems("not_found", *BODY),
)
async def patch_key(
    parts: Context,
    audit_context: CurrentOperator,
    tenant: str,
    key_id: str,
    body: Annotated[KeyLimitsBody, Depends(JsonBody(KeyLimitsBody))],
) -> Response:
    """Change the limits of a key at once: null removes a limit, missing members stay."""
    _check(tenant, key_id)
    changes = body.changes()
    if not changes:
        raise invalid([FieldError("", "names nothing to change")])
    changed = await parts.committer.run(set_key_limits(audit_context, tenant, key_id, changes))
    if changed is None:
        raise not_found("key")
    return answered(key_shown(changed, parts.prices))


@router.post(
    f"{_KEYS}/{{key_id}}/rotate",
    operation_id="rotate_key",
    status_code=201,
    response_model=NewKey,
    response_description="The key, shown once",
    responses=problems(
        *("not_found", "tenant_deleting", "too_many_keys", "key_inactive", "key_replaced"),
        *("redis_full", *BODY),
    ),
)
async def rotate(
    parts: Context,
    audit_context: CurrentOperator,
    tenant: str,
    key_id: str,
    body: Annotated[RotateBody, Depends(JsonBody(RotateBody, optional=True))],
) -> Response:
    """Create a key that replaces another, with its scopes and limits.

    Both are valid for the grace period, and share what is used of the limits.
    """
    _check(tenant, key_id)
    key, ends = new_key(), moment_of(body.expires_at)
    call = rotate_api_key(
        audit_context, tenant, key_id, key, grace_seconds=body.grace_seconds, expires_at=ends
    )
    return _made(parts, key, await parts.committer.run(call))


@router.delete(
    f"{_KEYS}/{{key_id}}",
    status_code=204,
    response_description="The key is revoked",
    responses=problems("not_found"),
)
async def delete_key(
    parts: Context, audit_context: CurrentOperator, tenant: str, key_id: str
) -> Response:
    """Revoke a key: it stops working everywhere within five seconds."""
    _check(tenant, key_id)
    if not await parts.committer.run(revoke_api_key(audit_context, tenant, key_id)):
        raise not_found("key")
    return Response(status_code=204)


def _check(tenant: str, key_id: str) -> None:
    if not NAME.fullmatch(tenant) or not is_key_id(key_id):
        raise not_found("key")


def _made(parts: AppContext, key: NewSecret, made: ApiKeyInfo | KeyRejected) -> Response:
    if isinstance(made, ApiKeyInfo):
        shown: NewKey = {**key_shown(made, parts.prices), "key": key.text}
        return answered(shown, 201)
    raise refusal(made)


def refusal(refused: KeyRejected) -> Problem:
    """Return why no key was created."""
    match refused.reason:
        case "missing":
            return not_found("tenant")
        case "unknown":
            return not_found("key")
        case "past":
            return invalid([FieldError("/expires_at", "must be in the future")])
        case "dead":
            return Problem("key_inactive", f"The API key is {refused.detail}. Create a new one.")
        case "replaced":
            detail = f"The key was replaced by {refused.detail}. Rotate that key instead."
            return Problem("key_replaced", detail, more={"replaced_by": refused.detail})
    detail = (
        f"The tenant has {refused.detail} keys, the maximum. Keys that ended count for 30 days."
    )
    return Problem("too_many_keys", detail)


def key_shown(key: ApiKeyInfo, prices: Mapping[str, float | None]) -> Key:
    """Write a key without its secret; `prices` are the credits of a call by model."""
    return {
        "id": key.id,
        "prefix": f"dk_{key.id}_",
        "state": key.state,
        "scopes": list(key.scopes),
        "label": key.label,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "revoked_at": rfc3339(key.revoked_at),
        "last_used_at": rfc3339(key.used_at),
        "replaced_by": key.replaced_by,
        "monthly_credits": key.monthly_credits,
        "requests_per_minute": key.requests_per_minute,
        "models": None if key.models is None else list(key.models),
        "budgets": [budget_shown(budget, priced=has_price(prices)) for budget in key.budgets],
    }


class Me(TypedDict):
    """The caller."""

    key_id: str | None
    person: str | None
    tenant: str | None
    scopes: list[Scope]


@router.get(
    "/ops/v1/me",
    response_model=Me,
    response_description="The key, or the person whom an authenticating proxy names",
)
async def get_me(principal: CurrentTenant) -> Response:
    """Return who is calling, and the scopes, so that a page can hide what it may not do."""
    person = person_of(principal.key_id)
    tenant = None if principal.tenant == OPERATORS else principal.tenant
    shown: Me = {
        "key_id": None if person else principal.key_id,
        "person": person,
        "tenant": tenant,
        "scopes": sorted(principal.scopes),
    }
    return answered(shown)
