"""The webhook endpoints of all tenants."""

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.ops.tenants import answered
from api.problems import not_found
from api.query import Query, decode_cursor, encode_cursor, enum_member, integer, text
from api.webhooks.deliveries import LIMIT_DEFAULT, LIMIT_MAX
from api.webhooks.endpoints import existing, secret_shown
from api.webhooks.responses import endpoint_shown
from shared.signing import new_webhook_secret
from shared.store.delivery_log import Cursor
from shared.store.endpoints import (
    Endpoint,
    EndpointState,
    enable_any_endpoint,
    list_endpoints,
    rotate_any_secret,
)
from shared.store.tenants import list_tenants

#: Pages of single tenants that one request reads at most.
SCAN_LIMIT = 50
_TENANTS_AT_ONCE = 50
_SPOT = re.compile(r"(\S{1,64}) ([0-9]{1,15}) ([a-z0-9_]{0,80})")


class Spot(NamedTuple):
    """Where a page ended: at this tenant, below this endpoint, or before its first."""

    tenant: str
    below: Cursor | None = None


async def get_all_endpoints(request: Request) -> Response:
    """List the webhook endpoints of all tenants, by tenant and the newest first.

    A page may be short and have a cursor.
    """
    parts, _ = app_context(request), await current_operator(request)
    query = Query(request)
    tenant = query.take("tenant", text)
    state = query.take("status", enum_member(EndpointState))
    limit = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    start = query.take("cursor", _read_spot) or Spot(tenant or "")
    if tenant not in {None, start.tenant}:
        query.refuse("cursor", "is no cursor of this list")
    query.done()
    names = _one(start.tenant) if tenant else _tenants(parts, start)
    found, spot = await _page(parts, names, start, state=state, limit=limit)
    data = [{"tenant": name, **endpoint_shown(one)} for name, one in found]
    return answered({"data": data, "next_cursor": _write_spot(spot)})


async def enable_any(request: Request, endpoint_id: str) -> Response:
    """Switch a receiver on, or have a failing one asked at once; it gets what it missed.

    Where it is still ill, what is sent to it counts as failed again.
    """
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    tenant = await parts.committer.run(enable_any_endpoint(audit_context, endpoint_id))
    if tenant is None:
        raise not_found("endpoint")
    return answered(
        {"tenant": tenant, **endpoint_shown(await existing(parts, endpoint_id, tenant))}
    )


async def rotate_any(request: Request, endpoint_id: str) -> Response:
    """Make a new secret for an endpoint; it is shown now only.

    What signed before, its own secret or the tenant's, signs along for 24 hours.
    """
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    secret = new_webhook_secret()
    tenant = await parts.committer.run(rotate_any_secret(audit_context, endpoint_id, secret))
    if tenant is None:
        raise not_found("endpoint")
    return answered({"tenant": tenant, **secret_shown(parts, secret)})


async def _page(
    parts: AppContext,
    names: AsyncIterator[str],
    start: Spot,
    *,
    state: EndpointState | None,
    limit: int,
) -> tuple[list[tuple[str, Endpoint]], Spot | None]:
    """Read tenant by tenant until the page is full; returns it and where it ended."""
    found: list[tuple[str, Endpoint]] = []
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
    """Yield the names of all tenants in their order, from that of `start` on."""
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


def _read_spot(written: str) -> Spot:
    """Read a cursor; raises ValueError for anything that is none."""
    found = _SPOT.fullmatch(decode_cursor(written))
    if not found:
        raise ValueError("is no cursor of this list")
    return Spot(found[1], Cursor(int(found[2]), found[3]) if found[3] else None)
