"""The ledger: what was told to whom, every attempt at it, and sending again."""

import re

from starlette.requests import Request
from starlette.responses import Response

from api.parts import Parts, parts_of, tenant_of
from api.problems import Problem, not_found
from api.query import Query, milliseconds, text, whole_number, word_of
from api.webhooks.bodies import RedeliverBody, read_body
from api.webhooks.places import read_place, write_place
from api.webhooks.show import delivery_shown, json_response, listed
from shared.jobs import DeliveryState
from shared.store.ledger import (
    Entry,
    list_deliveries,
    read_delivery,
    redeliver,
    redeliver_failed,
)

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
#: Records that one request may look at; a filter that finds little gives a short page.
LOOK = 1000
#: Deliveries that one script sends again, and one request at most.
PIECE = 200
REDELIVERED_MAX = 10_000
_ID = re.compile(r"msg_[a-z0-9_]{1,76}")
_ACCEPTED = 202


async def get_deliveries(request: Request) -> Response:
    """List deliveries, the newest first. A page may be short and still have a cursor to go on with.

    Those with `status=failed` are listed by when they failed.
    """
    parts, holder = parts_of(request), await tenant_of(request)
    query = Query(request)
    job_id = query.take("job_id", text)
    state = query.take("status", word_of(DeliveryState))
    limit = query.take("limit", whole_number(1, LIMIT_MAX)) or LIMIT_DEFAULT
    below = query.take("cursor", read_place)
    query.done()
    page = await parts.committer.run(
        list_deliveries(
            holder.tenant, job_id=job_id, state=state, below=below, limit=limit, look=LOOK
        )
    )
    data = [listed(entry) for entry in page.entries]
    return json_response({"data": data, "next_cursor": write_place(page.below)})


async def get_delivery(request: Request, delivery_id: str) -> Response:
    """Read a delivery with every attempt that is kept: the last twenty."""
    parts, holder = parts_of(request), await tenant_of(request)
    Query(request).done()
    return json_response(delivery_shown(await existing(parts, delivery_id, holder.tenant)))


async def redeliver_one(request: Request, delivery_id: str) -> Response:
    """Send a delivery again, or at once: with its id, signed by the secret of then.

    Also one that was delivered, or that something newer has replaced.
    """
    parts, holder = parts_of(request), await tenant_of(request)
    Query(request).done()
    await existing(parts, delivery_id, holder.tenant)
    refuse_unsent(await parts.committer.run(redeliver(delivery_id, tenant=holder.tenant)))
    entry = await existing(parts, delivery_id, holder.tenant)
    return json_response(delivery_shown(entry), _ACCEPTED)


def refuse_unsent(word: str) -> None:
    """Raise the Problem for which a delivery is not sent again, if there is one."""
    if word == "sending":
        raise Problem("delivery_sending", "It is being sent now; see what comes of it first.")
    if word == "off":
        raise Problem("endpoint_disabled", "Its endpoint is switched off; enable that first.")
    if word == "missing":
        raise not_found("delivery")


async def redeliver_since(request: Request) -> Response:
    """Send again what failed since a time; what something newer has replaced is not sent.

    Ten thousand at most: `more` tells whether to ask again.
    """
    parts, holder = parts_of(request), await tenant_of(request)
    Query(request).done()
    body = await read_body(request, RedeliverBody)
    count, more = await _redeliver(parts, holder.tenant, milliseconds(body.since))
    return json_response({"count": count, "more": more}, _ACCEPTED)


async def _redeliver(parts: Parts, tenant: str, since: int) -> tuple[int, bool]:
    """Send again piece by piece, so that Redis is never held for long."""
    total, upto = 0, None
    while total < REDELIVERED_MAX:
        piece = await parts.committer.run(
            redeliver_failed(tenant, since=since, upto=upto, most=PIECE)
        )
        total, upto = total + piece.count, piece.upto
        if piece.count < PIECE:
            return total, False
    return total, True


async def existing(parts: Parts, delivery_id: str, tenant: str) -> Entry:
    """Read a delivery of a tenant ('' any); raises a Problem where there is none.

    What is no id is not asked about.
    """
    entry = None
    if _ID.fullmatch(delivery_id):
        entry = await parts.committer.run(read_delivery(delivery_id, tenant=tenant))
    if entry is None:
        raise not_found("delivery")
    return entry
