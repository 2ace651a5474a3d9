"""Tenants, as operators make and limit them."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.json_body import read_body
from api.ops.body import LimitsBody, TenantBody
from api.parts import Parts, operator_of, parts_of
from api.problems import Fault, Problem, invalid, not_found
from api.query import Query, cursor_of, hide, whole_number
from shared.models import MODELS
from shared.signing import new_webhook_secret
from shared.store.opening import FIRST_LIMITS
from shared.store.tenants import (
    NAME,
    Tenant,
    create_tenant,
    limit,
    list_tenants,
    read_tenant,
)
from shared.view import rfc3339

LIMIT_DEFAULT = 50
LIMIT_MAX = 200


async def get_tenants(request: Request) -> Response:
    """List the tenants in the order of their names."""
    await operator_of(request)
    query = Query(request)
    most = query.take("limit", whole_number(1, LIMIT_MAX)) or LIMIT_DEFAULT
    after = query.take("cursor", cursor_of(NAME.fullmatch))
    query.done()
    parts = parts_of(request)
    found = await parts.committer.run(list_tenants(after=after, limit=most + 1))
    page = found[:most]
    is_more = len(found) > most
    return answered(
        {
            "data": [tenant_shown(tenant, parts.prices) for tenant in page],
            "next_cursor": hide(page[-1].name) if is_more else None,
        }
    )


async def post_tenant(request: Request) -> Response:
    """Make a tenant. Its webhook secret is shown now and never again; keys are made apart."""
    parts, deed = parts_of(request), await operator_of(request)
    Query(request).done()
    body = await read_body(request, TenantBody)
    secret = new_webhook_secret()
    limits = {**FIRST_LIMITS, **body.given()}
    if await parts.committer.run(create_tenant(deed, body.name, limits, webhook_secret=secret)):
        detail = f"There is a tenant {body.name}; PATCH changes what it may."
        raise Problem("tenant_exists", detail)
    made = tenant_shown(await existing(parts, body.name), parts.prices)
    shown = {**made, "webhook_secret": secret}
    return answered(shown, 201, {"Location": f"/ops/v1/tenants/{body.name}"})


async def get_tenant(request: Request, tenant: str) -> Response:
    """Read what a tenant may, and how many of its jobs wait and run."""
    await operator_of(request)
    Query(request).done()
    parts = parts_of(request)
    return answered(tenant_shown(await existing(parts, tenant), parts.prices))


async def patch_tenant(request: Request, tenant: str) -> Response:
    """Change what a tenant may, at once: null takes a limit away, what is not named stays."""
    parts, deed = parts_of(request), await operator_of(request)
    Query(request).done()
    given = (await read_body(request, LimitsBody)).given()
    if not given:
        raise invalid([Fault("", "names nothing to change")])
    if not NAME.fullmatch(tenant) or not await parts.committer.run(limit(tenant, deed, **given)):
        raise not_found("tenant")
    return answered(tenant_shown(await existing(parts, tenant), parts.prices))


async def existing(parts: Parts, name: str) -> Tenant:
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
    told = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body), status, told, "application/json")
