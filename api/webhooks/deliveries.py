"""Webhook deliveries: list, read with attempts, redeliver."""

import re
from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from api.context import AppContext, Context, CurrentTenant
from api.json_body import JsonBody
from api.problems import BODY, Problem, not_found, problems
from api.query import milliseconds
from api.routing import tenant_router
from api.webhooks.responses import (
    Delivery,
    DeliveryPage,
    Redelivered,
    delivery_shown,
    json_response,
    listed,
)
from api.webhooks.schemas import DeliveriesQuery, RedeliverBody, encode_delivery_cursor
from shared.store.delivery_log import (
    Entry,
    redeliver,
    redeliver_failed,
)

#: Deliveries redelivered by one script, and by one request at most.
PIECE = 200
REDELIVERED_MAX = 10_000
_ID = re.compile(r"msg_[a-z0-9_]{1,76}")
_ACCEPTED = 202

router = tenant_router("webhooks")


@router.get(
    "/v1/webhooks/deliveries",
    response_model=DeliveryPage,
    response_description="A page, newest first",
)
async def get_deliveries(
    parts: Context, principal: CurrentTenant, query: Annotated[DeliveriesQuery, Query()]
) -> Response:
    """List deliveries, newest first. A page may be short and still have a cursor for the next one.

    With `status=failed` and no `job_id`, deliveries are ordered by when they failed.
    """
    page = await parts.records.deliveries(
        principal.tenant,
        job_id=query.job_id,
        state=query.status,
        below=query.below,
        limit=query.limit,
    )
    shown: DeliveryPage = {
        "data": [listed(entry) for entry in page.entries],
        "next_cursor": encode_delivery_cursor(page.below),
    }
    return json_response(shown)


@router.get(
    "/v1/webhooks/deliveries/{delivery_id}",
    response_model=Delivery,
    response_description="The delivery",
    responses=problems("not_found"),
)
async def get_delivery(parts: Context, principal: CurrentTenant, delivery_id: str) -> Response:
    """Read a delivery with its stored attempts: the last twenty."""
    return json_response(delivery_shown(await existing(parts, delivery_id, principal.tenant)))


@router.post(
    "/v1/webhooks/deliveries/{delivery_id}/redeliver",
    status_code=_ACCEPTED,
    response_model=Delivery,
    response_description="It is sent again",
    responses=problems(
        "not_found", "delivery_sending", "endpoint_disabled", "endpoint_deleted", "outcome_unknown"
    ),
)
async def redeliver_one(parts: Context, principal: CurrentTenant, delivery_id: str) -> Response:
    """Send a delivery again, or now: with the same id, signed with the current secret.

    This includes deliveries that succeeded or were superseded.
    """
    entry = await existing(parts, delivery_id, principal.tenant)
    await parts.records.bring_back_subject(entry.subject, principal.tenant)
    refuse_unsent(await parts.committer.run(redeliver(delivery_id, tenant=principal.tenant)))
    entry = await existing(parts, delivery_id, principal.tenant)
    return json_response(delivery_shown(entry), _ACCEPTED)


def refuse_unsent(result: str) -> None:
    """Raise the Problem for which a delivery is not sent again, if there is one."""
    if result == "sending":
        raise Problem(
            "delivery_sending", "The delivery is being sent. Wait for its result, then try again."
        )
    if result == "off":
        raise Problem("endpoint_disabled", "The endpoint is disabled. Enable it first.")
    if result == "deleted":
        raise Problem(
            "endpoint_deleted",
            "The standing endpoint of the delivery was deleted. Create it again.",
        )
    if result == "missing":
        raise not_found("delivery")


@router.post(
    "/v1/webhooks/redeliver",
    status_code=_ACCEPTED,
    response_model=Redelivered,
    response_description="The number of deliveries that are sent again",
    responses=problems(*BODY, "outcome_unknown"),
)
async def redeliver_since(
    parts: Context,
    principal: CurrentTenant,
    body: Annotated[RedeliverBody, Depends(JsonBody(RedeliverBody))],
) -> Response:
    """Send again what failed since a time.

    Superseded deliveries, and those whose standing endpoint was deleted, are not sent.

    At most 10,000: `more` says whether to repeat the request.
    """
    count, more = await _redeliver(parts, principal.tenant, milliseconds(body.since))
    shown: Redelivered = {"count": count, "more": more}
    return json_response(shown, _ACCEPTED)


async def _redeliver(parts: AppContext, tenant: str, since: int) -> tuple[int, bool]:
    """Redeliver in steps, so that Redis is never blocked for long."""
    await parts.records.bring_back_failed(tenant, since=since, most=REDELIVERED_MAX)
    total = skipped = 0
    until = None
    while total < REDELIVERED_MAX:
        piece = await parts.committer.run(
            redeliver_failed(tenant, since=since, until=until, skipped=skipped, most=PIECE)
        )
        total, until = total + piece.count, piece.until
        skipped += piece.looked - piece.count
        if piece.looked < PIECE:
            return total, False
    return total, True


async def existing(parts: AppContext, delivery_id: str, tenant: str) -> Entry:
    """Read a delivery of a tenant ('' for any); raise a Problem if there is none.

    Malformed ids are not looked up.
    """
    entry = None
    if _ID.fullmatch(delivery_id):
        entry = await parts.records.delivery(delivery_id, tenant)
    if entry is None:
        raise not_found("delivery")
    return entry
