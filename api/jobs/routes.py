"""The routes of jobs: create, read, list, cancel, retry, reproduce, delete."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import refusal
from api.context import AppContext, Context, CurrentTenant, app_context, current_tenant
from api.headers import (
    RATE_LIMIT,
    READS_ACCEPTING,
    etag_matches,
    if_none_match,
    reads_headers,
    sends_headers,
)
from api.jobs.create import (
    enqueue_new,
    idempotency_key,
    job_request_context,
    job_response,
    unchanged,
)
from api.jobs.dry_run import Estimate, dry_run_response
from api.jobs.parsing import fingerprint, key_faults, model_faults, parse_job, safety_faults
from api.jobs.result_cache import reuse_image
from api.jobs.schemas import JobBody
from api.json_body import RawBody
from api.middleware import TRACE
from api.problems import (
    ADMISSION_ERRORS,
    BODY,
    NOT_ACCEPTED,
    FieldError,
    Problem,
    invalid,
    not_found,
    problems,
)
from api.query import (
    LIMIT_DEFAULT,
    JobCursor,
    Limit,
    Moment,
    Pairs,
    QueryModel,
    Seed,
    Text,
    Wait,
    WantedError,
    WantedStatus,
    Words,
    encode_cursor,
    with_metadata,
)
from api.routing import tenant_router
from api.webhooks import url_validation
from shared import schemas
from shared.history.search import JobSearch
from shared.ids import is_job_id
from shared.ids import job_id as new_id
from shared.jobs import Job, Status
from shared.logs import log
from shared.model_catalog import DEFAULT_MODEL
from shared.store import job_submission
from shared.store.command import Command
from shared.store.job_queries import Filter, Page, QueuedJob
from shared.store.job_submission import NewJob, NotAccepted
from shared.store.tenants import Principal
from shared.words import words

_PROMPT = "A sleek electric sports car on an empty highway at night, cinematic lighting"
EXAMPLES = {
    "sports car": {
        "model": DEFAULT_MODEL,
        "input": {
            "prompt": _PROMPT,
            "aspect_ratio": "16:9",
            "num_inference_steps": 4,
            "go_fast": True,
            "megapixels": "1",
            "output_format": "webp",
            "output_quality": 80,
        },
    },
    "only a prompt": {"input": {"prompt": "A lighthouse at dawn"}},
}
_ACCEPTED: dict[str, Any] = sends_headers("Location", "Idempotent-Replayed", *RATE_LIMIT)
_FINAL: dict[str, Any] = {
    "description": "The final job, with `Prefer: wait`",
    "model": schemas.Job,
    **sends_headers("Preference-Applied"),
}
_FINAL_OR_ESTIMATE: dict[str, Any] = {
    "description": "With `Prefer: wait`: the final job. With `dry_run`: the estimate",
    "model": schemas.Job | Estimate,
    **sends_headers("Preference-Applied", *RATE_LIMIT),
}
_READ_BODY = RawBody(JobBody, examples=EXAMPLES)
_log = log(__name__)

router = tenant_router("jobs")


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=schemas.Job,
    response_description="Accepted, and on disk",
    responses={
        202: _ACCEPTED,
        200: _FINAL_OR_ESTIMATE,
        **problems(*BODY, *NOT_ACCEPTED, "wait_limit_exceeded"),
    },
    openapi_extra=READS_ACCEPTING,
)
async def create_job(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    raw: Annotated[bytes, Depends(_READ_BODY)],
) -> Response:
    """Create a job.

    With `Prefer: wait=N` (1 to 60 seconds), the response is held until the job is final. With
    `dry_run`, no job is created, and the response is an estimate.
    """
    job = parse_job(raw, job_request_context(request, parts, principal))
    if job.dry_run:
        return await dry_run_response(parts, job)
    return await enqueue_new(
        request, parts, await reuse_image(parts, job) if job.spec.reuse else job
    )


async def create_job_fast(request: Request) -> Response:
    """Handle the route without FastAPI's dependency resolution."""
    parts = await app_context(request)
    principal = await current_tenant(request)
    return await create_job(request, parts, principal, await _READ_BODY(request))


class _JobQuery(QueryModel):
    wait: Annotated[
        Wait, Field(description="Seconds to wait for a change before the response is returned")
    ] = None


@router.get(
    "/v1/jobs/{job_id}",
    response_model=schemas.Job,
    response_description="The job",
    responses={
        200: sends_headers("ETag"),
        304: {"description": "It has not changed"},
        **problems("not_found"),
    },
    openapi_extra=reads_headers(If_None_Match="The `ETag` of the version that you have"),
)
async def get_job(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    job_id: str,
    query: Annotated[_JobQuery, Query()],
) -> Response:
    """Read a job.

    `?wait=N` (1 to 60 seconds) holds the response until the job differs from `If-None-Match`.
    Without that header it is held until the job changes; a final job is returned at once.
    """
    etags = if_none_match(request.headers)
    queued_job = await read_job(parts, job_id, principal.tenant)
    if query.wait is not None and _is_held(queued_job, etags):
        seen = queued_job.job.version

        def changed(now: QueuedJob) -> bool:
            return now.job.version != seen

        queued_job = _existing(await parts.wait_for(job_id, principal.tenant, changed, query.wait))
    is_known = etags is not None and etag_matches(etags, str(queued_job.job.version))
    if is_known and not _can_url_expire(parts, queued_job.job):
        return unchanged(queued_job)
    return job_response(parts.view, queued_job)


def _can_url_expire(parts: AppContext, job: Job) -> bool:
    """Return whether the image URL that a client has from this version may have expired."""
    if job.image is None:
        return False
    return parts.redis_monitor.signer.can_expire(since=job.finished_at or 0)


def _is_held(queued_job: QueuedJob, etags: str | None) -> bool:
    if etags is None:
        return not queued_job.job.state.is_final
    # `*` matches every version: no change would end the wait
    return etags.strip() != "*" and etag_matches(etags, str(queued_job.job.version))


async def read_job(parts: AppContext, job_id: str, tenant: str) -> QueuedJob:
    """Read a job; raise a Problem if there is none. Malformed ids are not looked up."""
    return _existing(await parts.read(job_id, tenant) if is_job_id(job_id) else None)


def _existing(queued_job: QueuedJob | None) -> QueuedJob:
    if queued_job is None:
        raise not_found()
    return queued_job


class JobsQuery(QueryModel):
    """The filter of a list of jobs."""

    status: WantedStatus = None
    batch_id: Annotated[Text, Field(description="Only jobs of this batch")] = None
    tag: Annotated[Text, Field(description="Only with this tag")] = None
    model: Annotated[Text, Field(description="Only jobs that requested this model")] = None
    served_model: Annotated[Text, Field(description="Only jobs that this model serves")] = None
    error_code: WantedError = None
    created_after: Annotated[Moment, Field(description="Later than this")] = None
    created_before: Annotated[Moment, Field(description="Earlier than this")] = None
    metadata: Pairs = Field({})
    seed: Seed = None
    q: Words = None
    limit: Annotated[Limit, Field(description="Jobs on the page")] = LIMIT_DEFAULT
    cursor: JobCursor = None

    @model_validator(mode="before")
    @classmethod
    def _metadata(cls, given: Any) -> Any:  # noqa: ANN401  as pydantic has it
        return with_metadata(given)

    def filter(self) -> Filter:
        """Return the filter for the store."""
        return Filter(
            status=self.status,
            batch_id=self.batch_id,
            tag=self.tag,
            model=self.model,
            served_model=self.served_model,
            error_code=self.error_code,
            created_after=self.created_after,
            created_before=self.created_before,
            metadata=self.metadata,
            seed=self.seed,
            words=words(self.q or ""),
        )


@router.get(
    "/v1/jobs",
    response_model=schemas.JobPage,
    response_description="A page, newest first",
)
async def get_jobs(
    parts: Context, principal: CurrentTenant, query: Annotated[JobsQuery, Query()]
) -> Response:
    """List jobs, newest first. A page may be short and still have a cursor for the next one."""
    search = JobSearch(principal.tenant, query.filter(), query.limit, before=query.cursor)
    return _page(parts, await parts.records.jobs(search))


def _page(parts: AppContext, page: Page) -> Response:
    view = parts.view
    body: schemas.JobPage = {
        "data": [view.job(queued_job) for queued_job in page.jobs],
        "next_cursor": encode_cursor(page.before) if page.before else None,
    }
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


@router.post(
    "/v1/jobs/{job_id}/cancel",
    response_model=schemas.Job,
    response_description="The job, canceled",
    responses=problems("not_found", "job_final"),
)
async def cancel_job(parts: Context, principal: CurrentTenant, job_id: str) -> Response:
    """Cancel a job: a queued one ends at once and is free; a running one's result is discarded."""
    _check_id(job_id)
    found = await parts.committer.run(job_submission.cancel(job_id, tenant=principal.tenant))
    if found is None and (job := await parts.read(job_id, principal.tenant)):
        found = job.job.state.status  # it is archived, and so final
    return _changed(parts, found, "job canceled")


@router.post(
    "/v1/jobs/{job_id}/retry",
    response_model=schemas.Job,
    response_description="The job, queued",
    responses=problems(
        *("not_found", "job_final", "job_not_final", "prompt_withheld"), *ADMISSION_ERRORS
    ),
)
async def retry_job(parts: Context, principal: CurrentTenant, job_id: str) -> Response:
    """Run a failed or canceled job again, as the same job; `run` is increased.

    An image that is already paid for is not paid for again, unless it was rejected. The budget and
    the rate of the API key that retries count, whichever key created the job.
    """
    _check_id(job_id)
    parts.redis_monitor.ensure_capacity()
    if principal.models is not None or not principal.may_disable_safety:
        job = (await read_job(parts, job_id, principal.tenant)).job
        _check_allowed((job.spec.model, *job.spec.fallback_models), job, principal)
    seconds = parts.settings.deadline_seconds

    def rerun() -> Command[Job | Status | NotAccepted | None]:
        return job_submission.rerun(
            job_id,
            tenant=principal.tenant,
            deadline_seconds=seconds,
            api_key=principal.key_id,
        )

    found = await parts.committer.run(rerun())
    if found is None and await parts.records.bring_back(job_id, principal.tenant):
        found = await parts.committer.run(rerun())
    return _changed(parts, found, "job rerun")


@router.post(
    "/v1/jobs/{job_id}/reproduce",
    status_code=202,
    response_model=schemas.Job,
    response_description="Accepted, and on disk",
    responses={
        202: _ACCEPTED,
        200: _FINAL,
        **problems("not_found", "prompt_withheld", *NOT_ACCEPTED),
    },
    openapi_extra=READS_ACCEPTING,
)
async def reproduce_job(
    request: Request, parts: Context, principal: CurrentTenant, job_id: str
) -> Response:
    """Create a new job with the same input, seed, webhook, retention and tags.

    If a fallback model served the job, the new job asks for that one, without fallbacks.
    Accepts `Idempotency-Key` and `Prefer: wait=N`, like a new job.
    """
    _check_id(job_id)
    key = idempotency_key(request)
    if faults := key_faults(key):
        raise invalid(faults)
    job = (await read_job(parts, job_id, principal.tenant)).job
    if job.is_prompt_withheld:
        raise refusal(NotAccepted("prompt_withheld", job_id))
    if job.model not in parts.models:
        raise invalid([FieldError("/model", f"is not available: {job.model}")])
    _check_allowed((job.model,), job, principal)
    webhook = job.spec.webhook
    new = NewJob(
        id=new_id(),
        tenant=principal.tenant,
        # the same image needs the model that made it
        spec=replace(job.spec, model=job.model, fallback_models=()),
        priority=job.priority,
        deadline_seconds=parts.settings.deadline_seconds,
        max_attempts=parts.settings.max_attempts,
        idempotency_key=key,
        fingerprint=fingerprint(f'["reproduce","{job_id}"]'.encode()) if key else "",
        webhook_host=url_validation.delivery_host(webhook["url"]) if webhook else "",
        credits=parts.price_of(job.model) or 0.0,
        trace=request.scope[TRACE],
        api_key=principal.key_id,
    )
    return await enqueue_new(request, parts, new)


@router.delete(
    "/v1/jobs/{job_id}",
    status_code=204,
    response_description="The job is deleted",
    responses=problems("not_found", "job_not_final"),
)
async def delete_job(parts: Context, principal: CurrentTenant, job_id: str) -> Response:
    """Delete a final job and its image at once."""
    _check_id(job_id)
    call = job_submission.delete_job(job_id, tenant=principal.tenant)
    found = await parts.committer.run(call)
    if isinstance(found, Status):
        raise _wrong_state(found)
    if not found and not await parts.records.delete(job_id, principal.tenant):
        raise not_found()
    _log.info("job deleted", job_id=job_id)
    return Response(status_code=204)


def _check_allowed(models: Sequence[str], job: Job, principal: Principal) -> None:
    """Check that the tenant may still use these models of a job and its safety setting."""
    faults = [fault for model in models for fault in model_faults(model, principal)]
    if faults := [*faults, *safety_faults(job.spec.input, principal)]:
        raise invalid(faults)


def _check_id(job_id: str) -> None:
    """Check an id; malformed ids are not looked up."""
    if not is_job_id(job_id):
        raise not_found()


def _changed(
    parts: AppContext, found: Job | Status | NotAccepted | None, audit_action: str
) -> Response:
    """Return the job that a client changed, logged as `audit_action`."""
    if isinstance(found, Job):
        _log.info(audit_action, job_id=found.id)
        return job_response(parts.view, QueuedJob(found))
    if isinstance(found, NotAccepted):
        raise refusal(found)
    raise _wrong_state(found) if found else not_found()


def _wrong_state(status: Status) -> Problem:
    more = {"job_status": status.value}
    if status in {Status.QUEUED, Status.RUNNING}:
        return Problem("job_not_final", f"The job is {status.value}; cancel it first.", more=more)
    detail = (
        f"The job is already final (`{status.value}`). Only queued and running jobs can be "
        "canceled, and only failed and canceled jobs can be retried."
    )
    return Problem("job_final", detail, more=more)
