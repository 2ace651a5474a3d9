"""Receivers: how each is, switching one on again, and the secrets that sign."""

import re

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_tenant
from api.problems import Problem, not_found
from api.query import Query, integer
from api.webhooks.deliveries import LIMIT_DEFAULT, LIMIT_MAX
from api.webhooks.pagination import decode_delivery_cursor, encode_delivery_cursor
from api.webhooks.responses import endpoint_shown, json_response
from api.webhooks.schemas import EndpointBody, read_body
from api.webhooks.url_validation import delivery_host
from shared.serializers import rfc3339
from shared.signing import DAY_SECONDS, new_webhook_secret
from shared.store.endpoints import (
    ENDPOINTS_MAX,
    Endpoint,
    enable_endpoint,
    ensure_endpoint,
    list_endpoints,
    read_endpoint,
    rotate_secret,
)

_ID = re.compile(r"ep_[0-9a-f]{24}")


async def get_endpoints(request: Request) -> Response:
    """List the receivers that deliveries were owed to, the newest first.

    One is an address without its query: that is for telling calls apart, not receivers.
    """
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    limit = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    below = query.take("cursor", decode_delivery_cursor)
    query.done()
    page = await parts.committer.run(list_endpoints(principal.tenant, before=below, limit=limit))
    data = [endpoint_shown(one) for one in page.endpoints]
    return json_response({"data": data, "next_cursor": encode_delivery_cursor(page.before)})


async def get_endpoint(request: Request, endpoint_id: str) -> Response:
    """Read how a receiver is."""
    parts, tenant = await _caller(request, endpoint_id)
    return json_response(endpoint_shown(await existing(parts, endpoint_id, tenant)))


async def create_endpoint(request: Request) -> Response:
    """Take down a receiver before anything is owed to it, or find it: to give it a secret."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    body = await read_body(request, EndpointBody)
    call = ensure_endpoint(principal.tenant, url=body.url, host=delivery_host(body.url))
    found = await parts.committer.run(call)
    if found is None:
        raise Problem("too_many_endpoints", f"You have {ENDPOINTS_MAX:,} endpoints or more.")
    return json_response(endpoint_shown(await existing(parts, found, principal.tenant)))


async def enable(request: Request, endpoint_id: str) -> Response:
    """Switch a receiver on, or have a failing one asked at once; it gets what it missed.

    The newest comes first; of a job, what something newer has replaced is not sent.
    """
    parts, tenant = await _caller(request, endpoint_id)
    if not await parts.committer.run(enable_endpoint(endpoint_id, tenant=tenant)):
        raise not_found("endpoint")
    return json_response(endpoint_shown(await existing(parts, endpoint_id, tenant)))


async def rotate_tenant(request: Request) -> Response:
    """Make a new secret for all receivers without one of their own; it is shown now only.

    The one before signs along for 24 hours.
    """
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    return await _rotate(parts, principal.tenant, None)


async def rotate_endpoint(request: Request, endpoint_id: str) -> Response:
    """Make a new secret for one receiver, its first or its next; it is shown now only.

    The one that signed before, its own or the tenant's, signs along for 24 hours.
    """
    parts, tenant = await _caller(request, endpoint_id)
    return await _rotate(parts, tenant, endpoint_id)


async def drop_secret(request: Request, endpoint_id: str) -> Response:
    """Leave a receiver without a secret of its own: the tenant's signs, its own along for 24 h."""
    parts, tenant = await _caller(request, endpoint_id)
    if not await parts.committer.run(rotate_secret(tenant, "", endpoint_id=endpoint_id)):
        raise not_found("endpoint")
    return Response(status_code=204)


async def _rotate(parts: AppContext, tenant: str, endpoint_id: str | None) -> Response:
    secret = new_webhook_secret()
    shown = secret_shown(parts, secret)
    if not await parts.committer.run(rotate_secret(tenant, secret, endpoint_id=endpoint_id)):
        raise not_found("endpoint")
    return json_response(shown)


def secret_shown(parts: AppContext, secret: str) -> dict[str, str | None]:
    """Write a secret that was made now, and until when the one before signs along."""
    ends = rfc3339(int(parts.redis_monitor.now_ms()) + DAY_SECONDS * 1000)
    return {"secret": secret, "previous_signs_until": ends}


async def _caller(request: Request, endpoint_id: str) -> tuple[AppContext, str]:
    """Give the parts and the tenant that asks; what is no id of an endpoint is not asked about."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    if not _ID.fullmatch(endpoint_id):
        raise not_found("endpoint")
    return parts, principal.tenant


async def existing(parts: AppContext, endpoint_id: str, tenant: str) -> Endpoint:
    """Read a receiver of this tenant; raises the Problem `not_found` where there is none."""
    endpoint = await parts.committer.run(read_endpoint(endpoint_id, tenant=tenant))
    if endpoint is None:
        raise not_found("endpoint")
    return endpoint
