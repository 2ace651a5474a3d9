"""The deliveries of all tenants: found, read, and sent again."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.json_body import read_body
from api.ops.schemas import RedeliverAllBody
from api.ops.tenants import answered
from api.problems import FieldError, Problem, invalid
from api.query import Query, enum_member, integer, milliseconds, text
from api.webhooks.deliveries import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    PIECE,
    REDELIVERED_MAX,
    SCAN_LIMIT,
    existing,
    refuse_unsent,
)
from api.webhooks.pagination import decode_delivery_cursor, encode_delivery_cursor
from api.webhooks.responses import delivery_shown, listed
from shared.jobs import DeliveryState
from shared.store.audit import AuditContext
from shared.store.delivery_log import (
    Entry,
    count_failed_deliveries,
    list_deliveries,
    redeliver_all,
    redeliver_any,
)

_ACCEPTED = 202


async def get_all_deliveries(request: Request) -> Response:
    """List the deliveries of all tenants, newest first. A page may be short and have a cursor.

    Those with `status=failed` are listed by when they failed.
    """
    parts, _ = app_context(request), await current_operator(request)
    query = Query(request)
    call = list_deliveries(
        query.take("tenant", text) or "",
        job_id=query.take("job_id", text),
        state=query.take("status", enum_member(DeliveryState)),
        host=query.take("host", text),
        limit=query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT,
        below=query.take("cursor", decode_delivery_cursor),
        scan_limit=SCAN_LIMIT,
    )
    query.done()
    page = await parts.committer.run(call)
    data = [{**_whose(entry), **listed(entry)} for entry in page.entries]
    return answered({"data": data, "next_cursor": encode_delivery_cursor(page.below)})


async def get_any_delivery(request: Request, delivery_id: str) -> Response:
    """Read a delivery with every attempt that is kept: the last twenty."""
    parts, _ = app_context(request), await current_operator(request)
    Query(request).done()
    return answered(delivery_detail(await existing(parts, delivery_id, "")))


async def redeliver_any_one(request: Request, delivery_id: str) -> Response:
    """Send a delivery again, or at once: with its id, signed by the secret of then."""
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    await existing(parts, delivery_id, "")
    refuse_unsent(await parts.committer.run(redeliver_any(audit_context, delivery_id)))
    return answered(delivery_detail(await existing(parts, delivery_id, "")), _ACCEPTED)


async def redeliver_all_since(request: Request) -> Response:
    """Send again what failed since a time, of one tenant or of all.

    First with `dry_run`, which counts; then with that number as `expected_count`. If there are more
    by then, none is sent. Ten thousand at most, those that failed first.
    """
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    body = await read_body(request, RedeliverAllBody)
    if not body.dry_run and body.expected_count is None:
        raise invalid([FieldError("/expected_count", "is required: count with `dry_run` first")])
    since = milliseconds(body.since)
    found, until = await parts.committer.run(count_failed_deliveries(body.tenant, since=since))
    result = {"count": min(found, REDELIVERED_MAX), "more": found > REDELIVERED_MAX}
    if body.dry_run:
        return answered({**result, "moved": 0}, _ACCEPTED)
    if result["count"] > (body.expected_count or 0):
        detail = f"{found} failed deliveries fit by now; none was sent. Count again."
        raise Problem("count_changed", detail, more=result)
    moved = await _redeliver(parts, audit_context, body.tenant, since=since, until=until)
    return answered({**result, "moved": moved}, _ACCEPTED)


async def _redeliver(
    parts: AppContext, audit_context: AuditContext, tenant: str | None, *, since: int, until: int
) -> int:
    """Send again piece by piece, each a deed of its own, so that Redis is never held for long."""
    looked = moved = 0
    while looked < REDELIVERED_MAX:
        step = AuditContext(audit_context.by, audit_context.request_id)
        call = redeliver_all(step, tenant, since=since, until=until, most=PIECE)
        piece = await parts.committer.run(call)
        looked, moved = looked + piece.looked, moved + piece.moved
        if piece.looked < PIECE:
            break
    return moved


def delivery_detail(entry: Entry) -> dict[str, Any]:
    """Write a delivery with whose it is, where it goes, and every attempt that is kept."""
    return {**_whose(entry), **delivery_shown(entry)}


def _whose(entry: Entry) -> dict[str, str]:
    return {"tenant": entry.tenant, "host": entry.host}
