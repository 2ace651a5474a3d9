"""The routes of batches: create, read, list, cancel."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import rate_headers, refusal
from api.batches.reading import read_jobs
from api.batches.schemas import BatchBody, FirstLine
from api.batches.staging import BatchStager
from api.context import AppContext, Context, CurrentTenant, span_of
from api.headers import RATE_LIMIT, reads_headers, sends_headers
from api.jobs.create import job_request_context
from api.jobs.parsing import key_faults
from api.json_body import JSON, Body, require_media
from api.problems import BODY, NOT_ACCEPTED, Problem, not_found, problems
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
from shared import metrics, schemas
from shared.batches import Batch
from shared.errors import OutcomeUnknown
from shared.ids import is_batch_id
from shared.jobs import Status
from shared.logs import log
from shared.serializers import batch_shown
from shared.store.batches import (
    BatchState,
    Committed,
    NewBatch,
    advance_batch,
    cancel_batch,
    commit_batch,
)
from shared.store.job_submission import NotAccepted

#: Paths that allow larger bodies.
BATCHES = "/v1/batches"
NDJSON = "application/x-ndjson"
#: NDJSON has no registered media type; clients send these.
_MEDIA = {
    JSON: JSON,
    **{
        f"application/{name}": NDJSON
        for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines")
    },
}
_ACCEPTED = 202
_ONE = {"input": {"prompt": "A lighthouse at dawn"}}
_LINES = """One `JobBody` per line. An optional first line holds options of the batch (`FirstLine`).
`application/ndjson`, `application/jsonl` and `application/x-jsonlines` are accepted too:

    {"batch": {"tags": ["spring"]}}
    {"input": {"prompt": "A lighthouse at dawn"}}
    {"input": {"prompt": "A lighthouse at dusk"}, "metadata": {"sku": "7"}}
"""
_log = log(__name__)

router = tenant_router("batches")


class _BatchBody(Body):
    """The body of a batch, which is read as a stream: the dependency returns its media type."""

    def __init__(self) -> None:
        examples = {
            "jobs": {"jobs": [_ONE, _ONE], "tags": ["spring"]},
            "variations": {**_ONE, "variations": 8},
        }
        super().__init__(BatchBody, examples=examples)
        self.models = (BatchBody, FirstLine)

    async def __call__(self, request: Request) -> str:
        """Return the media type of the body."""
        return require_media(request, _MEDIA)

    def described(self) -> dict[str, Any]:
        """Return the request body for the OpenAPI document."""
        body = super().described()
        body["content"][NDJSON] = {"schema": {"type": "string", "description": _LINES}}
        return body


@router.post(
    BATCHES,
    status_code=_ACCEPTED,
    response_model=schemas.Batch,
    response_description="Accepted, and every job on disk",
    responses={
        202: sends_headers("Location", "Idempotent-Replayed", *RATE_LIMIT),
        **problems(*BODY, *NOT_ACCEPTED),
    },
    openapi_extra=reads_headers(
        Idempotency_Key="The same key and body make one batch, within 24 hours"
    ),
)
async def create_batch(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    media: Annotated[str, Depends(_BatchBody())],
) -> Response:
    """Create many jobs at once: all of them, or none.

    The body is `{"jobs": [...]}`, or `{"input": {...}, "variations": 8}`, or, as
    `application/x-ndjson`, one job per line; up to 10,000. Options of the whole batch stand next to
    `jobs` or `input`, or in a first line `{"batch": {...}}`.
    """
    parts.redis_monitor.ensure_capacity()
    context = job_request_context(request, parts, principal)
    intake = BatchStager(parts, context)
    if faults := key_faults(context.idempotency_key):
        intake.refuse(faults)
    try:
        await read_jobs(request, intake, is_ndjson=media == NDJSON)
        return await _commit(request, parts, intake)
    except BaseException:
        # also when the client disconnects; a committed batch stays
        intake.discard()
        raise


async def _commit(request: Request, parts: AppContext, intake: BatchStager) -> Response:
    new = await intake.finish()
    parts.redis_monitor.ensure_capacity()
    timeout_ms = parts.settings.redis_timeout_seconds * 1000
    try:
        call = commit_batch(new, not_after_ms=parts.redis_monitor.now_ms() + timeout_ms)
        with span_of(request).step("accept", batch_id=new.id, jobs=new.size):
            answer = await parts.committer.run(call)
    except OutcomeUnknown as error:
        raise Problem(
            "accept_unknown",
            "The job store did not respond in time. Read the batch to see whether it exists.",
            headers={"Location": _location(new.id)},
            more={"batch_id": new.id},
        ) from error
    if isinstance(answer, Committed):
        _count(intake)
        _log.info("batch accepted", batch_id=new.id, jobs=new.size)
        parts.batch_finalizer.schedule(new.id)
        return _answer(BatchState(_new(new, answer), answer.created_at), rate_headers(answer.rate))
    state = await _replayed(parts, new, answer)
    intake.discard()
    return _answer(state, {"Idempotent-Replayed": "true"})


async def _replayed(parts: AppContext, new: NewBatch, answer: NotAccepted) -> BatchState:
    """Return the batch that this idempotency key created; raise a Problem for a refusal."""
    if answer.reason == "replayed":
        state = await parts.records.batch(answer.detail, new.tenant)
        if state:
            return state
        answer = NotAccepted("gone", answer.detail)  # deleted in between
    raise refusal(answer)


def _new(new: NewBatch, answer: Committed) -> Batch:
    """Return the state of a new batch without reading it again."""
    counts = dict.fromkeys(Status, 0) | {Status.QUEUED: new.size}
    return Batch(new.id, new.tenant, new.spec, new.size, counts, answer.created_at)


def _count(intake: BatchStager) -> None:
    metrics.BATCHES_ACCEPTED.inc()
    for (model, priority), count in intake.by_kind.items():
        metrics.JOBS_ACCEPTED.labels(model, priority).inc(count)


def _answer(state: BatchState, headers: Mapping[str, str]) -> Response:
    return _response(state, _ACCEPTED, {**headers, "Location": _location(state.batch.id)})


def _location(batch_id: str) -> str:
    return f"{BATCHES}/{batch_id}"


@router.get(
    f"{BATCHES}/{{batch_id}}",
    response_model=schemas.Batch,
    response_description="The batch",
    responses=problems("not_found"),
)
async def get_batch(parts: Context, principal: CurrentTenant, batch_id: str) -> Response:
    """Read a batch: the number of its jobs in each status, and when the last should finish."""
    return _response(await existing(parts, batch_id, principal.tenant))


class _BatchesQuery(QueryModel):
    limit: Annotated[Limit, Field(description="Batches on the page")] = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        is_given(cursor_of(is_batch_id)),
        OPTIONAL,
        Field(description="`next_cursor` of the page before"),
    ] = None


@router.get(
    BATCHES,
    response_model=schemas.BatchPage,
    response_description="A page, newest first",
)
async def get_batches(
    parts: Context, principal: CurrentTenant, query: Annotated[_BatchesQuery, Query()]
) -> Response:
    """List batches, newest first."""
    page = await parts.records.batches(principal.tenant, before=query.cursor, limit=query.limit)
    body: schemas.BatchPage = {
        "data": [batch_shown(one.batch, one.now_ms) for one in page.batches],
        "next_cursor": encode_cursor(page.before) if page.before else None,
    }
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


@router.post(
    f"{BATCHES}/{{batch_id}}/cancel",
    operation_id="cancel_batch",
    response_model=schemas.Batch,
    response_description="The batch",
    responses=problems("not_found", "batch_final"),
)
async def cancel(parts: Context, principal: CurrentTenant, batch_id: str) -> Response:
    """Cancel a batch: none of its jobs starts any more, and they end one after another.

    The results of running jobs are discarded; final jobs stay as they are.
    """
    found = "missing"
    if is_batch_id(batch_id):
        found = await parts.committer.run(cancel_batch(batch_id, tenant=principal.tenant))
    if found == "missing":
        await existing(parts, batch_id, principal.tenant)
        found = "state"  # it is archived, and so are its jobs
    if found == "state":
        raise Problem("batch_final", "All jobs of the batch are final.")
    # a small batch is canceled completely before the response
    await parts.committer.run(advance_batch(batch_id))
    parts.batch_finalizer.schedule(batch_id)
    return _response(await existing(parts, batch_id, principal.tenant))


async def existing(parts: AppContext, batch_id: str, tenant: str) -> BatchState:
    """Read a batch; raise a Problem if there is none. Malformed ids are not looked up."""
    state = None
    if is_batch_id(batch_id):
        state = await parts.records.batch(batch_id, tenant)
    if state is None:
        raise not_found("batch")
    return state


def _response(
    state: BatchState, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    all_headers = {"Cache-Control": "private, no-cache", **(headers or {})}
    body = orjson.dumps(batch_shown(state.batch, state.now_ms))
    return Response(body, status, all_headers, "application/json")
