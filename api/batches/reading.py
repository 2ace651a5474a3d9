"""Read the body of `POST /v1/batches` job by job as it arrives."""

from collections.abc import AsyncIterator
from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import Request

from api.batches.json_parser import JsonBatchParser
from api.batches.ndjson_parser import NdjsonParser, Unreadable
from api.batches.schemas import BatchOptions, FirstLine, VariationsBody
from api.batches.staging import BatchStager, Path_
from api.jobs.parsing import check_input, fallback_faults, inputs_with_seeds
from api.jobs.schemas import JobBody
from api.json_body import checked
from api.problems import FieldError

M = TypeVar("M", bound=BaseModel)


async def read_jobs(request: Request, intake: BatchStager, *, is_ndjson: bool) -> None:
    """Read the whole body; if it cannot be parsed further, report the faults found until then."""
    try:
        await (_lines if is_ndjson else _document)(request, intake)
    except Unreadable as error:
        intake.refuse([error.fault])


async def _lines(request: Request, intake: BatchStager) -> None:
    """Read one job per line; the first line may hold options of the batch."""
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
    """Read the line if it holds options of the batch; return whether it does."""
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
    """Read the entries of `jobs`, or the variations, once the whole body has arrived."""
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
    """Expand one input into many jobs, each with another seed."""
    body = _checked(VariationsBody, raw, intake)
    if body is None:
        return
    intake.options = body
    intake.update_fingerprint(raw)
    model = intake.context.models[body.model]
    found = check_input(model, body.input, intake.context.principal)
    faults = fallback_faults(body.fallback_models, model, body.input, intake.context)
    if faults or isinstance(found, list):
        intake.refuse([*(found if isinstance(found, list) else ()), *faults])
        return
    try:
        inputs = inputs_with_seeds(model, found, body.variations)
    except ValueError as error:
        intake.refuse([FieldError("/variations", str(error))])
        return
    job = JobBody(
        model=body.model,
        fallback_models=body.fallback_models,
        input=body.input,
        on_unknown=body.on_unknown,
    )
    for complete in inputs:
        await intake.add(job, complete, len(raw))


def _checked(model: type[M], raw: bytes, intake: BatchStager, path: Path_ = ()) -> M | None:
    """Validate the options of the batch; record every fault."""
    found = checked(model, raw, *path, context=intake.context.settings)
    if isinstance(found, list):
        intake.refuse(found)
        return None
    return found
