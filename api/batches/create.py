"""`POST /v1/batches`: the 202 means that every job is on disk; any other answer, that none is."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import rate_headers, refusal
from api.batches.json_parser import JsonBatchParser
from api.batches.ndjson_parser import NdjsonParser, Unreadable
from api.batches.responses import batch_response
from api.batches.schemas import BatchOptions, FirstLine, VariationsBody
from api.batches.staging import BatchStager, Path_
from api.context import AppContext, app_context, current_tenant, span_of
from api.jobs.create import job_request_context
from api.jobs.parsing import check_input, key_faults, seeds_from
from api.jobs.schemas import JobBody
from api.json_body import JSON, checked, require_media
from api.problems import FieldError, Problem
from api.query import Query
from shared import metrics
from shared.batches import Batch
from shared.errors import OutcomeUnknown
from shared.jobs import Status
from shared.logs import log
from shared.store.batches import BatchState, Committed, NewBatch, commit_batch, read_batch
from shared.store.job_submission import NotAccepted

M = TypeVar("M", bound=BaseModel)

NDJSON = "application/x-ndjson"
#: NDJSON has no registered type; these are the names that programs send.
_MEDIA = {
    JSON: JSON,
    **{
        f"application/{name}": NDJSON
        for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines")
    },
}
_CREATED = 202
_log = log(__name__)


async def create_batch(request: Request) -> Response:
    """Accept many jobs at once: all of them, or none.

    The body is `{"jobs": [...]}`, or `{"input": {...}, "variations": 8}`, or, as
    `application/x-ndjson`, one job a line; up to 10,000. What holds for the whole batch stands
    beside `jobs` or `input`, or in a first line `{"batch": {...}}`.
    """
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    media = require_media(request, _MEDIA)
    parts.redis_monitor.ensure_capacity()
    context = job_request_context(request, parts, principal)
    intake = BatchStager(parts, context)
    if faults := key_faults(context.idempotency_key):
        intake.refuse(faults)
    try:
        await _read(request, intake, _lines if media == NDJSON else _document)
        return await _commit(request, parts, intake)
    except BaseException:
        # a client that went away counts too; what was committed meanwhile stays
        intake.discard()
        raise


async def _read(
    request: Request, intake: BatchStager, reader: Callable[[Request, BatchStager], Awaitable[None]]
) -> None:
    """Take in the whole body; where it cannot be read on, what is known by then is told."""
    try:
        await reader(request, intake)
    except Unreadable as error:
        intake.refuse([error.fault])


async def _lines(request: Request, intake: BatchStager) -> None:
    """Take one job a line; a first line may say what holds for the batch."""
    is_first = True
    async for number, line in _numbered(request, intake.context.settings.max_body_bytes):
        if not (is_first and _options_line(intake, number, line)):
            await intake.add_body(line, ("line", number))
        is_first = False


async def _numbered(request: Request, most_bytes: int) -> AsyncIterator[tuple[int, bytes]]:
    lines = NdjsonParser(most_bytes=most_bytes)
    async for part in request.stream():
        for one in lines.feed(part):
            yield one
    for one in lines.close():
        yield one


def _options_line(intake: BatchStager, number: int, line: bytes) -> bool:
    """Read what holds for the batch, if that is what the line is; tells whether it is."""
    try:
        found = from_json(line)
    except ValueError:
        return False
    if not isinstance(found, dict) or "batch" not in found:
        return False
    first = _checked(FirstLine, line, intake, ("line", number))
    if first:
        intake.options = first.batch
        intake.update_fingerprint(line)
    return True


async def _document(request: Request, intake: BatchStager) -> None:
    """Take the entries of `jobs`, or the variations, once all of the body is there."""
    with JsonBatchParser(most_bytes=intake.context.settings.max_body_bytes) as document:
        async for part in request.stream():
            document.feed(part)
        document.close()
        await _members(document, intake)


async def _members(document: JsonBatchParser, intake: BatchStager) -> None:
    if document.jobs is None and document.names & {"input", "variations"}:
        await _variations(document.members, intake)
        return
    options = _checked(BatchOptions, document.members, intake)
    if options:
        intake.options = options
        intake.update_fingerprint(document.members)
    if document.jobs is None:
        intake.refuse([FieldError("/jobs", "is required, or `input` with `variations`")])
    for number, job in enumerate(document.jobs or ()):
        await intake.add_body(job, ("jobs", number))


async def _variations(raw: bytes, intake: BatchStager) -> None:
    """Take one input many times, each with another seed."""
    body = _checked(VariationsBody, raw, intake)
    if body is None:
        return
    intake.options = body
    intake.update_fingerprint(raw)
    found = check_input(body.model, body.input, intake.context.principal)
    if isinstance(found, list):
        intake.refuse(found)
        return
    try:
        seeds = seeds_from(found["seed"], body.variations)
    except ValueError as error:
        intake.refuse([FieldError("/variations", str(error))])
        return
    job = JobBody(model=body.model, input=found, on_unknown=body.on_unknown)
    for seed in seeds:
        await intake.add(job, {**found, "seed": seed}, len(raw))


def _checked(model: type[M], raw: bytes, intake: BatchStager, path: Path_ = ()) -> M | None:
    """Check what holds for the batch; notes every fault."""
    found = checked(model, raw, *path, context=intake.context.guard)
    if isinstance(found, list):
        intake.refuse(found)
        return None
    return found


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
            "The job store did not answer in time. Read the batch to see whether it is there.",
            headers={"Location": _location(new.id)},
            more={"batch_id": new.id},
        ) from error
    if isinstance(answer, Committed):
        _count(intake)
        _log.info("batch accepted", batch_id=new.id, jobs=new.size)
        parts.batch_finalizer.schedule(new.id)
        return _answer(BatchState(_new(new, answer), answer.created_at), rate_headers(answer.rate))
    state = await _existing(parts, new, answer)
    intake.discard()
    return _answer(state, {"Idempotent-Replayed": "true"})


async def _existing(parts: AppContext, new: NewBatch, answer: NotAccepted) -> BatchState:
    """Give the batch that this idempotency key made before; raises a Problem for other refusals."""
    if answer.reason == "replayed":
        state = await parts.committer.run(read_batch(answer.detail, tenant=new.tenant))
        if state:
            return state
        answer = NotAccepted("gone", answer.detail)  # forgotten in between
    raise refusal(answer)


def _new(new: NewBatch, answer: Committed) -> Batch:
    """Say how the batch stands, from what is known."""
    counts = dict.fromkeys(Status, 0) | {Status.QUEUED: new.size}
    return Batch(new.id, new.tenant, new.spec, new.size, counts, answer.created_at)


def _count(intake: BatchStager) -> None:
    metrics.BATCHES_ACCEPTED.inc()
    for (model, priority), count in intake.by_kind.items():
        metrics.JOBS_ACCEPTED.labels(model, priority).inc(count)


def _answer(state: BatchState, headers: Mapping[str, str]) -> Response:
    return batch_response(state, _CREATED, {**headers, "Location": _location(state.batch.id)})


def _location(batch_id: str) -> str:
    return f"/v1/batches/{batch_id}"
