"""`POST /openai/v1/images/generations`: create jobs, wait for all, return the images."""

import asyncio
import base64
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NotRequired

import orjson
from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from api.admission_errors import rate_headers, refusal
from api.compat.client_disconnect import run_until_disconnect
from api.compat.openai.errors import SHAPE
from api.compat.openai.parsing import ImagesRequest, parse_request
from api.compat.openai.schemas import ImagesBody
from api.context import AppContext, Context, CurrentTenant, is_final
from api.headers import reads_headers
from api.jobs.create import job_request_context, not_after_ms, submit
from api.json_body import RawBody
from api.problems import BODY, NOT_ACCEPTED, Problem, problems
from api.query import QueryModel, Text
from api.routing import tenant_router
from shared import metrics
from shared.errors import ErrorCode, StoreError
from shared.jobs import Image, Job, Status
from shared.logs import log
from shared.schemas import Url
from shared.store.job_submission import Accepted, JobGroup, NotAccepted, accept_group, close_group
from shared.store.tenants import Principal

#: The clients send the number of their retry, but no idempotency key.
_RETRY_COUNT = "x-stainless-retry-count"
#: Failures only the caller can fix; all others are the service's.
_REFUSALS: Mapping[ErrorCode | None, str] = {
    ErrorCode.CONTENT_REJECTED: "content_rejected",
    ErrorCode.PROVIDER_REJECTED: "image_rejected",
    ErrorCode.INVALID_INPUT: "image_rejected",
    ErrorCode.MODEL_UNAVAILABLE: "model_unavailable",
}
_log = log(__name__)


router = tenant_router("openai", shape=SHAPE)


class OpenAIImage(TypedDict):
    """An image: its URL, or its bytes in base64."""

    url: NotRequired[Url]
    b64_json: NotRequired[str]


class Images(TypedDict):
    """The requested images."""

    created: int
    data: list[OpenAIImage]
    output_format: str
    size: str


class _ImagesQuery(QueryModel):
    # Open WebUI sends it if configured
    api_version: Annotated[Text, Field(alias="api-version", description="Accepted and ignored")] = (
        None
    )


@router.post(
    "/openai/v1/images/generations",
    operation_id="openai_create_images",
    response_model=Images,
    response_description="All images that were asked for",
    responses=problems(
        *("content_rejected", "image_rejected", "image_missing", "image_failed", "image_damaged"),
        *("image_pending", "storage_down"),
        *BODY,
        *NOT_ACCEPTED,
        shape=SHAPE,
    ),
    openapi_extra=reads_headers(
        Idempotency_Key="The same key and body make the same jobs, within 24 hours",
        x_stainless_retry_count="How often the client has retried the request",
    ),
)
async def create_images(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    _: Annotated[_ImagesQuery, Query()],
    raw: Annotated[bytes, Depends(RawBody(ImagesBody))],
) -> Response:
    """Generate 1 to 10 images and return them when all are ready, like OpenAI's Images API.

    If the client retries by itself (`x-stainless-retry-count`), the retry returns the images of the
    first attempt, whose jobs continue after a disconnect.
    """
    context = job_request_context(request, parts, principal)
    is_retry = request.headers.get(_RETRY_COUNT, "0") != "0"
    images_request = parse_request(raw, context, is_retry=is_retry)
    if await request.is_disconnected():  # its retry takes over
        raise ClientDisconnect
    jobs, headers = await _accept(request, parts, images_request.together)
    response = await _answer(request, parts, principal, images_request, jobs)
    response.headers.update(headers)
    return response


async def _accept(
    request: Request, parts: AppContext, together: JobGroup
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Return the job ids, new or of an earlier attempt, and the headers."""
    first = together.jobs[0]
    call = accept_group(together, not_after_ms=not_after_ms(parts))
    answer = await submit(request, parts, call, first.id)
    if isinstance(answer, NotAccepted):
        raise refusal(answer)
    if isinstance(answer, Accepted):
        counted = metrics.JOBS_ACCEPTED.labels(first.spec.model, first.priority.value)
        counted.inc(len(together.jobs))
        ids = [job.id for job in together.jobs]
        _log.info("jobs accepted", job_ids=ids)
        return ids, rate_headers(answer.rate)
    return answer.jobs, {}


async def _answer(
    request: Request,
    parts: AppContext,
    principal: Principal,
    images_request: ImagesRequest,
    jobs: Sequence[str],
) -> Response:
    """Wait and respond; record for the next retry whether to join these jobs."""
    is_answered = False
    try:
        response = await run_until_disconnect(
            request, _made(parts, principal.tenant, images_request.body, jobs)
        )
    except Problem as problem:
        # if a retry may succeed, it waits for these same jobs
        is_answered = problem.kind.retry_after is None
        raise
    except ClientDisconnect:
        _log.info("client disconnected", job_ids=list(jobs))
        raise
    else:
        is_answered = True
        return response
    finally:
        await _end_attempt(parts, images_request.together, jobs, answered=is_answered)


async def _end_attempt(
    parts: AppContext, together: JobGroup, jobs: Sequence[str], *, answered: bool
) -> None:
    try:
        await parts.committer.run(close_group(together, jobs, answered=answered))
    except StoreError:
        _log.info("group not closed", answered=answered)


async def _made(parts: AppContext, tenant: str, body: ImagesBody, jobs: Sequence[str]) -> Response:
    seconds = parts.settings.openai_wait_seconds
    waits = [parts.wait_for(job_id, tenant, is_final, seconds) for job_id in jobs]
    queued_jobs = await asyncio.gather(*waits)
    found = [queued_job.job for queued_job in queued_jobs if queued_job]
    more = {"job_ids": list(jobs)}
    if len(found) < len(jobs):
        raise Problem("image_failed", "A job was deleted before its image was returned.", more=more)
    if unfinished := [job.id for job in found if not job.state.is_final]:
        raise Problem(
            "image_pending",
            f"{len(unfinished)} of {len(jobs)} images are not finished yet. "
            "Their jobs continue. Retry this request to wait for them, or read them with "
            f"GET /v1/jobs/{{id}}: {', '.join(unfinished)}.",
            more=more,
        )
    if failed := [job for job in found if job.image is None]:
        raise _failed(failed, len(jobs), more)
    return await _shown(parts, body, found)


def _failed(failed: Sequence[Job], count: int, more: dict[str, Any]) -> Problem:
    """Return why there is no response; images that succeeded stay with their jobs."""
    reasons = "; ".join(f"{job.id}: {_reason(job)}" for job in failed)
    codes = {_REFUSALS.get(job.error_code, "image_failed") for job in failed}
    code = codes.pop() if len(codes) == 1 else "image_failed"
    return Problem(code, f"{len(failed)} of {count} images were not made. {reasons}", more=more)


def _reason(job: Job) -> str:
    if job.state.status is Status.CANCELED:
        return "It was canceled."
    return job.error_message or "It failed."


async def _shown(parts: AppContext, body: ImagesBody, jobs: Sequence[Job]) -> Response:
    """Write the images in the order of their seeds."""
    images = [job.image for job in jobs if job.image]
    data: list[OpenAIImage]
    if body.as_url:
        data = [{"url": parts.view.image_url(job)} for job in jobs]
    else:
        data = [{"b64_json": one} for one in await asyncio.gather(*_encoded(parts, images))]
    first = images[0]
    answer: Images = {
        "created": jobs[0].created_at // 1000,
        "data": data,
        "output_format": first.content_type.removeprefix("image/"),
        "size": f"{first.width}x{first.height}",
    }
    return Response(orjson.dumps(answer), 200, {"Cache-Control": "no-store"}, "application/json")


def _encoded(parts: AppContext, images: Sequence[Image]) -> Iterator[Awaitable[str]]:
    async def encoded(image: Image) -> str:
        return base64.b64encode(await parts.images.whole(image)).decode()

    return (encoded(image) for image in images)
