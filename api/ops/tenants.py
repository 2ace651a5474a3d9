"""Tenants: create, read, limit."""

from collections.abc import Mapping
from typing import Annotated, Literal, cast

import orjson
from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.budgets import Budget, budget_shown, has_price
from api.context import AppContext, Context, CurrentOperator
from api.headers import sends_headers
from api.json_body import JsonBody
from api.ops.schemas import LimitsBody, TenantBody
from api.problems import BODY, FieldError, Problem, invalid, not_found, problems
from api.query import (
    LIMIT_DEFAULT,
    OPTIONAL,
    Limit,
    QueryModel,
    cursor_of,
    encode_cursor,
    is_given,
)
from api.routing import tenant_router
from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.signing import new_webhook_secret
from shared.store.provisioning import FIRST_LIMITS
from shared.store.tenants import (
    NAME,
    create_tenant,
    list_tenants,
    read_tenant,
    set_limits,
)
from shared.store.tenants import Tenant as StoredTenant

_TENANT = "/ops/v1/tenants/{tenant}"
BudgetAction = Literal["hold", "refuse"]

router = tenant_router("operators")


class Tenant(TypedDict):
    """A tenant: its limits and budgets, and how many of its jobs are queued and running."""

    name: str
    weight: float
    max_running: Count | None
    max_queued: Count | None
    requests_per_minute: Count | None
    daily_credits: float | None
    monthly_credits: float | None
    budget_action: BudgetAction | None
    models: list[str] | None
    may_disable_safety: bool
    image_retention_seconds: Count | None
    record_retention_seconds: Count | None
    archive_prompts: bool
    created_at: Time | None
    deleting: Annotated[bool, Field(description="It is being deleted: nothing can be changed")]
    queued: Count
    running: Count
    budgets: list[Budget]
    warnings: list[str]


class NewTenant(Tenant):
    """A new tenant."""

    webhook_secret: str


class TenantPage(TypedDict):
    """A page of tenants."""

    data: list[Tenant]
    next_cursor: str | None


class _TenantsQuery(QueryModel):
    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        is_given(cursor_of(NAME.fullmatch)),
        OPTIONAL,
        Field(description="`next_cursor` of the page before"),
    ] = None


@router.get(
    "/ops/v1/tenants",
    response_model=TenantPage,
    response_description="A page, by name",
)
async def get_tenants(parts: Context, query: Annotated[_TenantsQuery, Query()]) -> Response:
    """List the tenants by name."""
    found = await parts.committer.run(list_tenants(after=query.cursor, limit=query.limit + 1))
    page = found[: query.limit]
    is_more = len(found) > query.limit
    shown: TenantPage = {
        "data": [tenant_shown(tenant, parts.settings.model_prices) for tenant in page],
        "next_cursor": encode_cursor(page[-1].name) if is_more else None,
    }
    return answered(shown)


@router.post(
    "/ops/v1/tenants",
    status_code=201,
    response_model=NewTenant,
    response_description="The tenant and its webhook secret",
    responses={
        201: sends_headers("Location"),
        **problems("tenant_exists", "tenant_deleting", "redis_full", *BODY),
    },
)
async def post_tenant(
    parts: Context,
    audit_context: CurrentOperator,
    body: Annotated[TenantBody, Depends(JsonBody(TenantBody))],
) -> Response:
    """Create a tenant, without keys. Its webhook secret is shown only in this response."""
    secret = new_webhook_secret()
    limits = {**FIRST_LIMITS, **body.changes()}
    if await parts.committer.run(
        create_tenant(audit_context, body.name, limits, webhook_secret=secret)
    ):
        detail = f"There is already a tenant {body.name}. Change its limits with PATCH."
        raise Problem("tenant_exists", detail)
    made = tenant_shown(await existing(parts, body.name), parts.settings.model_prices)
    shown: NewTenant = {**made, "webhook_secret": secret}
    return answered(shown, 201, {"Location": f"/ops/v1/tenants/{body.name}"})


@router.get(
    _TENANT,
    response_model=Tenant,
    response_description="The tenant",
    responses=problems("not_found"),
)
async def get_tenant(parts: Context, tenant: str) -> Response:
    """Read the limits of a tenant, and how many of its jobs are queued and running."""
    return answered(tenant_shown(await existing(parts, tenant), parts.settings.model_prices))


@router.patch(
    _TENANT,
    response_model=Tenant,
    response_description="The tenant",
    responses=problems("not_found", "tenant_deleting", *BODY),
)
async def patch_tenant(
    parts: Context,
    audit_context: CurrentOperator,
    tenant: str,
    body: Annotated[LimitsBody, Depends(JsonBody(LimitsBody))],
) -> Response:
    """Change the limits of a tenant at once: null removes a limit, missing members stay."""
    changes = body.changes()
    if not changes:
        raise invalid([FieldError("", "names nothing to change")])
    if faults := body.conflicts(await existing(parts, tenant)):
        raise invalid(faults)
    if not await parts.committer.run(set_limits(tenant, audit_context, **changes)):
        raise not_found("tenant")
    return answered(tenant_shown(await existing(parts, tenant), parts.settings.model_prices))


async def existing(parts: AppContext, name: str) -> StoredTenant:
    """Read a tenant; raise a Problem if there is none."""
    found = await parts.committer.run(read_tenant(name)) if NAME.fullmatch(name) else ()
    if not found:
        raise not_found("tenant")
    return found[0]


def tenant_shown(tenant: StoredTenant, prices: Mapping[str, float | None]) -> Tenant:
    """Write a tenant; `prices` are the credits of a call by model, None without a price."""
    return {
        "name": tenant.name,
        "weight": tenant.weight,
        "max_running": tenant.max_running,
        "max_queued": tenant.max_queued,
        "requests_per_minute": tenant.requests_per_minute,
        "daily_credits": tenant.daily_credits,
        "monthly_credits": tenant.monthly_credits,
        "budget_action": cast("BudgetAction | None", tenant.budget_action),
        "models": None if tenant.models is None else list(tenant.models),
        "may_disable_safety": tenant.may_disable_safety,
        "image_retention_seconds": tenant.image_retention_seconds,
        "record_retention_seconds": tenant.record_retention_seconds,
        "archive_prompts": tenant.archive_prompts,
        "created_at": rfc3339(tenant.created_at),
        "deleting": tenant.is_being_deleted,
        "queued": tenant.queued,
        "running": tenant.running,
        "budgets": [budget_shown(budget, priced=has_price(prices)) for budget in tenant.budgets],
        "warnings": list(budget_warnings(tenant, prices).values()),
    }


def budget_warnings(tenant: StoredTenant, prices: Mapping[str, float | None]) -> Mapping[str, str]:
    """Name, by limit, what a tenant's budgets do not count because it has no price."""
    unpriced = ", ".join(name for name, price in prices.items() if price is None)
    if not unpriced:
        return {}
    if has_price(prices):
        what = f"does not count {unpriced}: DARKROOM_CREDITS_PER_IMAGE has no price for it."
    else:
        what = "does nothing: no price is set (DARKROOM_CREDITS_PER_IMAGE)."
    limits = {"daily_credits": tenant.daily_credits, "monthly_credits": tenant.monthly_credits}
    return {name: f"`{name}` {what}" for name, limit in limits.items() if limit is not None}


def answered(
    body: Mapping[str, object], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Respond to an operator, without caching."""
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body), status, all_headers, "application/json")
