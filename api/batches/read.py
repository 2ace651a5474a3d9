"""Reading batches, and canceling one."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.batches.responses import batch_response
from api.context import AppContext, app_context, current_tenant
from api.jobs.read import LIMIT_DEFAULT, LIMIT_MAX
from api.problems import Problem, not_found
from api.query import Query, cursor_of, encode_cursor, integer
from shared.ids import is_batch_id
from shared.serializers import batch_shown
from shared.store.batches import BatchState, advance_batch, cancel_batch, list_batches, read_batch


async def get_batch(request: Request, batch_id: str) -> Response:
    """Read a batch: how many of its jobs are where, and when the last will probably be done."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    return batch_response(await existing(parts, batch_id, principal.tenant))


async def get_batches(request: Request) -> Response:
    """List batches, newest first."""
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    limit = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    before = query.take("cursor", cursor_of(is_batch_id))
    query.done()
    page = await parts.committer.run(list_batches(principal.tenant, before=before, limit=limit))
    body = {
        "data": [batch_shown(one.batch, one.now_ms) for one in page.batches],
        "next_cursor": encode_cursor(page.before) if page.before else None,
    }
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


async def cancel(request: Request, batch_id: str) -> Response:
    """Cancel a batch: from now on none of its jobs is begun; they end one after another.

    What runs is dropped, what is final stays as it is.
    """
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    found = "missing"
    if is_batch_id(batch_id):
        found = await parts.committer.run(cancel_batch(batch_id, tenant=principal.tenant))
    if found == "missing":
        raise not_found("batch")
    if found == "state":
        raise Problem("batch_final", "Every job of the batch is final and stays so.")
    # a small batch is canceled whole before it is answered
    await parts.committer.run(advance_batch(batch_id))
    parts.batch_finalizer.schedule(batch_id)
    return batch_response(await existing(parts, batch_id, principal.tenant))


async def existing(parts: AppContext, batch_id: str, tenant: str) -> BatchState:
    """Read a batch; raises a Problem where there is none. What is no id is not asked about."""
    state = None
    if is_batch_id(batch_id):
        state = await parts.committer.run(read_batch(batch_id, tenant=tenant))
    if state is None:
        raise not_found("batch")
    return state
