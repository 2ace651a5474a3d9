"""Tenants, as operators make and limit them."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.json_body import read_body
from api.ops.schemas import LimitsBody, TenantBody
from api.problems import FieldError, Problem, invalid, not_found
from api.query import Query, cursor_of, encode_cursor, integer
from shared.model_catalog import MODELS
from shared.serializers import rfc3339
from shared.signing import new_webhook_secret
from shared.store.provisioning import FIRST_LIMITS
from shared.store.tenants import (
    NAME,
    Tenant,
    create_tenant,
    list_tenants,
    read_tenant,
    set_limits,
)

LIMIT_DEFAULT = 50
LIMIT_MAX = 200


async def get_tenants(request: Request) -> Response:
    """List the tenants in the order of their names."""
    await current_operator(request)
    query = Query(request)
    most = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    after = query.take("cursor", cursor_of(NAME.fullmatch))
    query.done()
    parts = app_context(request)
    found = await parts.committer.run(list_tenants(after=after, limit=most + 1))
    page = found[:most]
    is_more = len(found) > most
    return answered(
        {
            "data": [tenant_shown(tenant, parts.prices) for tenant in page],
            "next_cursor": encode_cursor(page[-1].name) if is_more else None,
        }
    )


async def post_tenant(request: Request) -> Response:
    """Make a tenant. Its webhook secret is shown now and never again; keys are made apart."""
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    body = await read_body(request, TenantBody)
    secret = new_webhook_secret()
    limits = {**FIRST_LIMITS, **body.changes()}
    if await parts.committer.run(
        create_tenant(audit_context, body.name, limits, webhook_secret=secret)
    ):
        detail = f"There is a tenant {body.name}; PATCH changes what it may."
        raise Problem("tenant_exists", detail)
    made = tenant_shown(await existing(parts, body.name), parts.prices)
    shown = {**made, "webhook_secret": secret}
    return answered(shown, 201, {"Location": f"/ops/v1/tenants/{body.name}"})


async def get_tenant(request: Request, tenant: str) -> Response:
    """Read what a tenant may, and how many of its jobs wait and run."""
    await current_operator(request)
    Query(request).done()
    parts = app_context(request)
    return answered(tenant_shown(await existing(parts, tenant), parts.prices))


async def patch_tenant(request: Request, tenant: str) -> Response:
    """Change what a tenant may, at once: null takes a limit away, what is not named stays."""
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    changes = (await read_body(request, LimitsBody)).changes()
    if not changes:
        raise invalid([FieldError("", "names nothing to change")])
    if not NAME.fullmatch(tenant) or not await parts.committer.run(
        set_limits(tenant, audit_context, **changes)
    ):
        raise not_found("tenant")
    return answered(tenant_shown(await existing(parts, tenant), parts.prices))


async def existing(parts: AppContext, name: str) -> Tenant:
    """Read a tenant; raises a Problem where there is none."""
    found = await parts.committer.run(read_tenant(name)) if NAME.fullmatch(name) else ()
    if not found:
        raise not_found("tenant")
    return found[0]


def tenant_shown(tenant: Tenant, prices: Mapping[str, float]) -> dict[str, Any]:
    """Write a tenant; `prices` are the credits that a call of a model may cost."""
    return {
        "name": tenant.name,
        "weight": tenant.weight,
        "max_running": tenant.max_running,
        "max_queued": tenant.max_queued,
        "requests_per_minute": tenant.requests_per_minute,
        "daily_credits": tenant.daily_credits,
        "budget_action": tenant.budget_action,
        "may_disable_safety": tenant.may_disable_safety,
        "created_at": rfc3339(tenant.created_at),
        "queued": tenant.queued,
        "running": tenant.running,
        "warnings": budget_warnings(tenant, prices),
    }


def budget_warnings(tenant: Tenant, prices: Mapping[str, float]) -> list[str]:
    """Name what a tenant's budget does not count, because it has no price."""
    unpriced = [name for name in MODELS if name not in prices]
    if tenant.daily_credits is None or not unpriced:
        return []
    if not prices:
        return ["`daily_credits` does nothing: no price is set here (DARKROOM_CREDITS_PER_IMAGE)."]
    names = ", ".join(unpriced)
    return [
        f"`daily_credits` does not count {names}: DARKROOM_CREDITS_PER_IMAGE has no price for it."
    ]


def answered(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Answer an operator: nothing of it is for a cache."""
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body), status, all_headers, "application/json")
