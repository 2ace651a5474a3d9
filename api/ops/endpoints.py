"""The webhook endpoints of all tenants."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple

from fastapi import Query
from pydantic import Field, ValidationInfo, field_validator
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator
from api.ops.tenants import answered
from api.problems import not_found, problems
from api.query import (
    LIMIT_DEFAULT,
    OPTIONAL,
    Limit,
    QueryModel,
    Text,
    decode_cursor,
    encode_cursor,
    enum_member,
    is_given,
    is_readable,
)
from api.routing import tenant_router
from api.webhooks.endpoints import existing, secret_shown
from api.webhooks.responses import Endpoint, WebhookSecret, endpoint_shown
from shared.signing import new_webhook_secret
from shared.store.delivery_log import Cursor
from shared.store.endpoints import Endpoint as StoredEndpoint
from shared.store.endpoints import (
    EndpointState,
    enable_any_endpoint,
    list_endpoints,
    rotate_any_secret,
)
from shared.store.tenants import list_tenants

#: Tenants whose endpoints one request reads at most.
SCAN_LIMIT = 50
_TENANTS_AT_ONCE = 50
_SPOT = re.compile(r"(\S{1,64}) ([0-9]{1,15}) ([a-z0-9_]{0,80})")


class Spot(NamedTuple):
    """Where a page ended: at this tenant, below this endpoint, or before its first."""

    tenant: str
    below: Cursor | None = None


_ONE = "/ops/v1/endpoints/{endpoint_id}"

router = tenant_router("operators")


class AnyEndpoint(Endpoint):
    """A webhook endpoint with its tenant."""

    tenant: str


class AnyEndpointPage(TypedDict):
    """A page of endpoints."""

    data: list[AnyEndpoint]
    next_cursor: str | None


class AnyEndpointSecret(WebhookSecret):
    """A new secret, with the tenant of its endpoint."""

    tenant: str


def _read_spot(written: str) -> Spot:
    """Parse a cursor; raise ValueError if it is malformed."""
    found = _SPOT.fullmatch(decode_cursor(written))
    if not found:
        raise ValueError("is not a valid cursor of this list")
    return Spot(found[1], Cursor(int(found[2]), found[3]) if found[3] else None)


class _EndpointsQuery(QueryModel):
    tenant: Annotated[Text, Field(description="Only of this tenant")] = None
    status: Annotated[
        EndpointState | None,
        is_given(enum_member(EndpointState)),
        OPTIONAL,
        Field(description="Only these"),
    ] = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        is_readable(_read_spot),
        OPTIONAL,
        Field(description="`next_cursor` of the page before"),
    ] = None

    @field_validator("cursor")
    @classmethod
    def _of_this_tenant(cls, cursor: str | None, info: ValidationInfo) -> str | None:
        tenant = info.data.get("tenant")
        if cursor is not None and tenant not in {None, _read_spot(cursor).tenant}:
            raise ValueError("is not a valid cursor of this list")
        return cursor

    @property
    def start(self) -> Spot:
        """The start of the page."""
        return _read_spot(self.cursor) if self.cursor else Spot(self.tenant or "")


@router.get(
    "/ops/v1/endpoints",
    response_model=AnyEndpointPage,
    response_description="A page, by tenant and newest first",
)
async def get_all_endpoints(parts: Context, query: Annotated[_EndpointsQuery, Query()]) -> Response:
    """List the webhook endpoints of all tenants, by tenant, newest first.

    A page may be short and have a cursor.
    """
    start = query.start
    names = _one(start.tenant) if query.tenant else _tenants(parts, start)
    found, spot = await _page(parts, names, start, state=query.status, limit=query.limit)
    shown: AnyEndpointPage = {
        "data": [{"tenant": name, **endpoint_shown(one)} for name, one in found],
        "next_cursor": _write_spot(spot),
    }
    return answered(shown)


@router.post(
    f"{_ONE}/enable",
    operation_id="enable_any_endpoint",
    response_model=AnyEndpoint,
    response_description="The endpoint, enabled",
    responses=problems("not_found"),
)
async def enable_any(parts: Context, audit_context: CurrentOperator, endpoint_id: str) -> Response:
    """Enable an endpoint, or retry a failing one at once; its pending deliveries are sent.

    If it still fails, deliveries to it count as failed again.
    """
    tenant = await parts.committer.run(enable_any_endpoint(audit_context, endpoint_id))
    if tenant is None:
        raise not_found("endpoint")
    shown: AnyEndpoint = {
        "tenant": tenant,
        **endpoint_shown(await existing(parts, endpoint_id, tenant)),
    }
    return answered(shown)


@router.post(
    f"{_ONE}/secret/rotate",
    operation_id="rotate_any_secret",
    response_model=AnyEndpointSecret,
    response_description="The new secret",
    responses=problems("not_found"),
)
async def rotate_any(parts: Context, audit_context: CurrentOperator, endpoint_id: str) -> Response:
    """Create a new secret for an endpoint; it is shown only in this response.

    The previous secret, its own or the tenant's, also signs for another 24 hours.
    """
    secret = new_webhook_secret()
    tenant = await parts.committer.run(rotate_any_secret(audit_context, endpoint_id, secret))
    if tenant is None:
        raise not_found("endpoint")
    shown: AnyEndpointSecret = {"tenant": tenant, **secret_shown(parts, secret)}
    return answered(shown)


async def _page(
    parts: AppContext,
    names: AsyncIterator[str],
    start: Spot,
    *,
    state: EndpointState | None,
    limit: int,
) -> tuple[list[tuple[str, StoredEndpoint]], Spot | None]:
    """Read tenant by tenant until the page is full; return it and where it ended."""
    found: list[tuple[str, StoredEndpoint]] = []
    scanned = 0
    async for name in names:
        below = start.below if name == start.tenant else None
        while True:
            if scanned == SCAN_LIMIT or len(found) == limit:
                return found, Spot(name, below)
            page = await parts.committer.run(list_endpoints(name, before=below, limit=limit))
            scanned += 1
            fitting = [one for one in page.endpoints if state in {None, one.state}]
            taken = fitting[: limit - len(found)]
            found += [(name, one) for one in taken]
            if len(taken) < len(fitting):
                return found, Spot(name, Cursor(taken[-1].created_at, taken[-1].id))
            below = page.before
            if below is None:
                break
    return found, None


async def _one(name: str) -> AsyncIterator[str]:
    yield name


async def _tenants(parts: AppContext, start: Spot) -> AsyncIterator[str]:
    """Yield the names of all tenants in order, starting at `start`."""
    name = start.tenant
    if name:
        yield name
    while page := await parts.committer.run(list_tenants(after=name, limit=_TENANTS_AT_ONCE)):
        for tenant in page:
            name = tenant.name
            yield name


def _write_spot(spot: Spot | None) -> str | None:
    if spot is None:
        return None
    at, last = (spot.below.at, spot.below.id) if spot.below else (0, "")
    return encode_cursor(f"{spot.tenant} {at} {last}")
