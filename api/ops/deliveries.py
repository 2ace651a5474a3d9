"""The webhook deliveries of all tenants: list, read, redeliver."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator
from api.json_body import JsonBody
from api.ops.schemas import RedeliverAllBody
from api.ops.tenants import answered
from api.problems import BODY, Problem, invalid, problems
from api.query import Text, milliseconds
from api.routing import tenant_router
from api.webhooks.deliveries import (
    PIECE,
    REDELIVERED_MAX,
    existing,
    refuse_unsent,
)
from api.webhooks.responses import Delivery, ListedDelivery, delivery_shown, listed
from api.webhooks.schemas import DeliveriesQuery, encode_delivery_cursor
from shared.schemas import Count
from shared.store.audit import AuditContext
from shared.store.delivery_log import (
    Entry,
    count_failed_deliveries,
    redeliver_all,
    redeliver_any,
)

_ACCEPTED = 202
_ONE = "/ops/v1/deliveries/{delivery_id}"

router = tenant_router("operators")


class AnyDelivery(Delivery):
    """A delivery with its tenant and endpoint."""

    tenant: str
    host: str


class AnyListedDelivery(ListedDelivery):
    """A delivery with its last attempt, tenant and endpoint."""

    tenant: str
    host: str


class AnyDeliveryPage(TypedDict):
    """A page of deliveries."""

    data: list[AnyListedDelivery]
    next_cursor: str | None


class RedeliveredAll(TypedDict):
    """How many deliveries match, and how many are sent again."""

    count: Count
    more: bool
    moved: Count


class _AnyDeliveriesQuery(DeliveriesQuery):
    tenant: Annotated[Text, Field(description="Only of this tenant")] = None
    host: Annotated[Text, Field(description="Only to this host")] = None


@router.get(
    "/ops/v1/deliveries",
    response_model=AnyDeliveryPage,
    response_description="A page, newest first",
)
async def get_all_deliveries(
    parts: Context, query: Annotated[_AnyDeliveriesQuery, Query()]
) -> Response:
    """List the deliveries of all tenants, newest first. A page may be short and have a cursor.

    With `status=failed` and no `job_id`, deliveries are ordered by when they failed.
    """
    page = await parts.records.deliveries(
        query.tenant or "",
        job_id=query.job_id,
        state=query.status,
        host=query.host,
        limit=query.limit,
        below=query.below,
    )
    shown: AnyDeliveryPage = {
        "data": [
            {"tenant": entry.tenant, "host": entry.host, **listed(entry)} for entry in page.entries
        ],
        "next_cursor": encode_delivery_cursor(page.below),
    }
    return answered(shown)


@router.get(
    _ONE,
    response_model=AnyDelivery,
    response_description="The delivery",
    responses=problems("not_found"),
)
async def get_any_delivery(parts: Context, delivery_id: str) -> Response:
    """Read a delivery with its stored attempts: the last twenty."""
    return answered(delivery_detail(await existing(parts, delivery_id, "")))


@router.post(
    f"{_ONE}/redeliver",
    status_code=_ACCEPTED,
    response_model=AnyDelivery,
    response_description="It is sent again",
    responses=problems("not_found", "delivery_sending", "endpoint_disabled"),
)
async def redeliver_any_one(
    parts: Context, audit_context: CurrentOperator, delivery_id: str
) -> Response:
    """Send a delivery again, or now: with the same id, signed with the current secret."""
    entry = await existing(parts, delivery_id, "")
    await parts.records.bring_back_subject(entry.subject, entry.tenant)
    refuse_unsent(await parts.committer.run(redeliver_any(audit_context, delivery_id)))
    return answered(delivery_detail(await existing(parts, delivery_id, "")), _ACCEPTED)


@router.post(
    "/ops/v1/deliveries/redeliver",
    status_code=_ACCEPTED,
    response_model=RedeliveredAll,
    response_description="How many match, and how many are sent again",
    responses=problems("count_changed", *BODY),
)
async def redeliver_all_since(
    parts: Context,
    audit_context: CurrentOperator,
    body: Annotated[RedeliverAllBody, Depends(JsonBody(RedeliverAllBody))],
) -> Response:
    """Send again what failed since a time, of one tenant or of all.

    First send `dry_run`, which counts; then send that number as `expected_count`. If more match by
    then, nothing is sent. At most 10,000 are sent, the earliest failures first. Those whose
    standing endpoint was deleted match, but are not sent.
    """
    if faults := body.faults():
        raise invalid(faults)
    since = milliseconds(body.since)
    await parts.records.bring_back_failed(body.tenant or "", since=since, most=REDELIVERED_MAX)
    found, until = await parts.committer.run(count_failed_deliveries(body.tenant, since=since))
    count, more = min(found, REDELIVERED_MAX), found > REDELIVERED_MAX
    moved = 0
    if not body.dry_run:
        if count > (body.expected_count or 0):
            detail = (
                f"{found} failed deliveries match now; none was sent. Count again with `dry_run`."
            )
            raise Problem("count_changed", detail, more={"count": count, "more": more})
        moved, is_cut = await _redeliver(
            parts, audit_context, body.tenant, since=since, until=until
        )
        more = more and is_cut
    return answered(RedeliveredAll(count=count, more=more, moved=moved), _ACCEPTED)


async def _redeliver(
    parts: AppContext, audit_context: AuditContext, tenant: str | None, *, since: int, until: int
) -> tuple[int, bool]:
    """Redeliver in steps, each a script of its own, so that Redis is never blocked for long.

    Return how many are sent, and whether only the limit ended it.
    """
    moved = skipped = 0
    while moved < REDELIVERED_MAX:
        step = AuditContext(audit_context.by, audit_context.request_id)
        call = redeliver_all(step, tenant, since=since, until=until, skipped=skipped, most=PIECE)
        piece = await parts.committer.run(call)
        moved, skipped = moved + piece.moved, skipped + piece.skipped
        if piece.looked < PIECE:
            return moved, False
    return moved, True


def delivery_detail(entry: Entry) -> AnyDelivery:
    """Write a delivery with its tenant, endpoint and stored attempts."""
    return {"tenant": entry.tenant, "host": entry.host, **delivery_shown(entry)}
