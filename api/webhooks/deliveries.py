"""The ledger: what was told to whom, every attempt at it, and sending again."""

import re

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_tenant
from api.problems import Problem, not_found
from api.query import Query, enum_member, integer, milliseconds, text
from api.webhooks.pagination import decode_delivery_cursor, encode_delivery_cursor
from api.webhooks.responses import delivery_shown, json_response, listed
from api.webhooks.schemas import RedeliverBody, read_body
from shared.jobs import DeliveryState
from shared.store.delivery_log import (
    Entry,
    list_deliveries,
    read_delivery,
    redeliver,
    redeliver_failed,
)

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
#: Records that one request may look at; a filter that finds little gives a short page.
SCAN_LIMIT = 1000
#: Deliveries that one script sends again, and one request at most.
PIECE = 200
REDELIVERED_MAX = 10_000
_ID = re.compile(r"msg_[a-z0-9_]{1,76}")
_ACCEPTED = 202


async def get_deliveries(request: Request) -> Response:
    """List deliveries, the newest first. A page may be short and still have a cursor to go on with.

    Those with `status=failed` are listed by when they failed.
    """
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    job_id = query.take("job_id", text)
    state = query.take("status", enum_member(DeliveryState))
    limit = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    below = query.take("cursor", decode_delivery_cursor)
    query.done()
    page = await parts.committer.run(
        list_deliveries(
            principal.tenant,
            job_id=job_id,
            state=state,
            below=below,
            limit=limit,
            scan_limit=SCAN_LIMIT,
        )
    )
    data = [listed(entry) for entry in page.entries]
    return json_response({"data": data, "next_cursor": encode_delivery_cursor(page.below)})


async def get_delivery(request: Request, delivery_id: str) -> Response:
    """Read a delivery with every attempt that is kept: the last twenty."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    return json_response(delivery_shown(await existing(parts, delivery_id, principal.tenant)))


async def redeliver_one(request: Request, delivery_id: str) -> Response:
    """Send a delivery again, or at once: with its id, signed by the secret of then.

    Also one that was delivered, or that something newer has replaced.
    """
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    await existing(parts, delivery_id, principal.tenant)
    refuse_unsent(await parts.committer.run(redeliver(delivery_id, tenant=principal.tenant)))
    entry = await existing(parts, delivery_id, principal.tenant)
    return json_response(delivery_shown(entry), _ACCEPTED)


def refuse_unsent(result: str) -> None:
    """Raise the Problem for which a delivery is not sent again, if there is one."""
    if result == "sending":
        raise Problem("delivery_sending", "It is being sent now; see what comes of it first.")
    if result == "off":
        raise Problem("endpoint_disabled", "Its endpoint is switched off; enable that first.")
    if result == "missing":
        raise not_found("delivery")


async def redeliver_since(request: Request) -> Response:
    """Send again what failed since a time; what something newer has replaced is not sent.

    Ten thousand at most: `more` tells whether to ask again.
    """
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    body = await read_body(request, RedeliverBody)
    count, more = await _redeliver(parts, principal.tenant, milliseconds(body.since))
    return json_response({"count": count, "more": more}, _ACCEPTED)


async def _redeliver(parts: AppContext, tenant: str, since: int) -> tuple[int, bool]:
    """Send again piece by piece, so that Redis is never held for long."""
    total, until = 0, None
    while total < REDELIVERED_MAX:
        piece = await parts.committer.run(
            redeliver_failed(tenant, since=since, until=until, most=PIECE)
        )
        total, until = total + piece.count, piece.until
        if piece.count < PIECE:
            return total, False
    return total, True


async def existing(parts: AppContext, delivery_id: str, tenant: str) -> Entry:
    """Read a delivery of a tenant ('' any); raises a Problem where there is none.

    What is no id is not asked about.
    """
    entry = None
    if _ID.fullmatch(delivery_id):
        entry = await parts.committer.run(read_delivery(delivery_id, tenant=tenant))
    if entry is None:
        raise not_found("delivery")
    return entry
