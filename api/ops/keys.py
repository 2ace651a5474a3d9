"""The keys of tenants, as operators make and end them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import app_context, current_operator
from api.json_body import read_body
from api.ops.schemas import KeyBody, RotateBody, moment_of
from api.ops.tenants import answered
from api.problems import FieldError, Problem, invalid, not_found
from api.query import Query
from shared.api_keys import Key, is_key_id, new_key
from shared.serializers import rfc3339
from shared.store.api_keys import (
    ApiKeyInfo,
    KeyRejected,
    add_api_key,
    list_api_keys,
    revoke_api_key,
    rotate_api_key,
)
from shared.store.tenants import NAME


async def get_keys(request: Request, tenant: str) -> Response:
    """List a tenant's keys, the oldest first, with those that ended in the last 30 days."""
    await current_operator(request)
    Query(request).done()
    keys = None
    if NAME.fullmatch(tenant):
        keys = await app_context(request).committer.run(list_api_keys(tenant))
    if keys is None:
        raise not_found("tenant")
    return answered({"data": [key_shown(key) for key in keys]})


async def post_key(request: Request, tenant: str) -> Response:
    """Give a tenant a key. It is shown now and never again."""
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    body = await read_body(request, KeyBody)
    key, ends = new_key(), moment_of(body.expires_at)
    if not NAME.fullmatch(tenant):
        raise not_found("tenant")
    call = add_api_key(audit_context, tenant, key, body.scopes, label=body.label, expires_at=ends)
    return _made(key, await parts.committer.run(call))


async def rotate(request: Request, tenant: str, key_id: str) -> Response:
    """Give a tenant a key in the place of another, with its scopes; both live for the grace."""
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    body = await read_body(request, RotateBody, optional=True)
    _check(tenant, key_id)
    key, ends = new_key(), moment_of(body.expires_at)
    call = rotate_api_key(
        audit_context, tenant, key_id, key, grace_seconds=body.grace_seconds, expires_at=ends
    )
    return _made(key, await parts.committer.run(call))


async def delete_key(request: Request, tenant: str, key_id: str) -> Response:
    """Revoke a key: within five seconds it opens nothing anywhere."""
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    _check(tenant, key_id)
    if not await parts.committer.run(revoke_api_key(audit_context, tenant, key_id)):
        raise not_found("key")
    return Response(status_code=204)


def _check(tenant: str, key_id: str) -> None:
    if not NAME.fullmatch(tenant) or not is_key_id(key_id):
        raise not_found("key")


def _made(key: Key, made: ApiKeyInfo | KeyRejected) -> Response:
    if isinstance(made, ApiKeyInfo):
        return answered({**key_shown(made), "key": key.text}, 201)
    raise refusal(made)


def refusal(refused: KeyRejected) -> Problem:
    """Say why no key was made."""
    match refused.reason:
        case "missing":
            return not_found("tenant")
        case "unknown":
            return not_found("key")
        case "past":
            return invalid([FieldError("/expires_at", "must be in the future")])
        case "dead":
            return Problem("key_inactive", f"This key is {refused.detail}; make a new one.")
        case "replaced":
            detail = f"The key {refused.detail} is in its place; rotate that one."
            return Problem("key_replaced", detail, more={"replaced_by": refused.detail})
    detail = f"The tenant has {refused.detail} keys; those that ended go after 30 days."
    return Problem("too_many_keys", detail)


def key_shown(key: ApiKeyInfo) -> dict[str, Any]:
    """Write a key without its secret."""
    return {
        "id": key.id,
        "prefix": f"dk_{key.id}_",
        "state": key.state.value,
        "scopes": [scope.value for scope in key.scopes],
        "label": key.label,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "revoked_at": rfc3339(key.revoked_at),
        "last_used_at": rfc3339(key.used_at),
        "replaced_by": key.replaced_by,
    }
