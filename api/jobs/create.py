"""Create a job: the 202 means that it is on disk."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import rate_headers, refusal
from api.context import AppContext, is_final, span_of
from api.headers import preferred_wait
from api.jobs.parsing import JobRequestContext
from api.middleware import TRACE
from api.problems import Problem
from shared import metrics
from shared.errors import HistoryDown, OutcomeUnknown, StoreError
from shared.jobs import Job, State, StateChange
from shared.logs import log
from shared.serializers import View
from shared.store.command import Command
from shared.store.job_queries import QueuedJob
from shared.store.job_submission import Accepted, NewJob, NotAccepted, accept
from shared.store.tenants import Principal

_ACCEPTED = 202
_REPLAYED = {"Idempotent-Replayed": "true"}
T = TypeVar("T")
_log = log(__name__)


async def enqueue_new(request: Request, parts: AppContext, job: NewJob) -> Response:
    """Create a validated job and respond with it."""
    queued_job, headers = await enqueue(request, parts, job)
    return await _answer(request, parts, queued_job, headers)


async def enqueue(
    request: Request, parts: AppContext, job: NewJob
) -> tuple[QueuedJob, Mapping[str, str]]:
    """Create a validated job; return it, or the one of its idempotency key, and the headers."""
    call = accept(job, not_after_ms=not_after_ms(parts))
    answer = await submit(request, parts, call, job.id)
    if isinstance(answer, Accepted):
        metrics.JOBS_ACCEPTED.labels(job.spec.model, job.priority.value).inc()
        _log.info("job accepted", job_id=job.id)
        return await _queued_job(parts, job, answer), rate_headers(answer.rate)
    return await _existing(parts, job, answer), _REPLAYED


def job_request_context(
    request: Request, parts: AppContext, principal: Principal
) -> JobRequestContext:
    """Return what, besides the body, decides whether the job may be created."""
    trace = request.scope[TRACE]
    return JobRequestContext(principal, parts.settings, idempotency_key(request), trace)


def idempotency_key(request: Request) -> str | None:
    """Return the idempotency key; several become an invalid one, so that none is ignored."""
    keys = request.headers.getlist("idempotency-key")
    return ", ".join(keys) if keys else None


def not_after_ms(parts: AppContext) -> float:
    """Return the time after which the job must not be accepted; raise if there is no capacity."""
    parts.redis_monitor.ensure_capacity()
    return parts.redis_monitor.now_ms() + parts.settings.redis_timeout_seconds * 1000


async def submit(request: Request, parts: AppContext, call: Command[T], job_id: str) -> T:
    """Queue the job; a lost reply is a Problem with the id of the (first) job."""
    try:
        with span_of(request).step("accept", job_id=job_id):
            return await parts.committer.run(call)
    except OutcomeUnknown as error:
        raise Problem(
            "accept_unknown",
            "The job store did not respond in time. Read the job to see whether it exists.",
            headers={"Location": f"/v1/jobs/{job_id}"},
            more={"job_id": job_id},
        ) from error


async def _existing(parts: AppContext, job: NewJob, answer: NotAccepted) -> QueuedJob:
    """Return the job that this idempotency key created; raise a Problem for other refusals."""
    if answer.reason == "replayed":
        queued_job = await parts.read(answer.detail, job.tenant)
        if queued_job:
            return queued_job
        answer = NotAccepted("gone", answer.detail)  # deleted in between
    raise refusal(answer)


async def _queued_job(parts: AppContext, job: NewJob, answer: Accepted) -> QueuedJob:
    """Return the state of an accepted job."""
    queued_job = _accepted_job(job, answer)
    if job.reused is None:
        return queued_job
    metrics.JOBS_FINISHED.labels(job.spec.model, "succeeded", "").inc()
    metrics.JOB_TOTAL_SECONDS.labels("succeeded").observe(0)
    try:
        return await parts.read(job.id, job.tenant) or queued_job
    except (StoreError, HistoryDown):  # the job is accepted all the same
        return queued_job


def _accepted_job(job: NewJob, answer: Accepted) -> QueuedJob:
    """Return the state of a queued job from what is known, without reading it again."""
    at = answer.created_at
    return QueuedJob(
        Job(
            id=job.id,
            tenant=job.tenant,
            spec=replace(job.spec, input=job.input_of(answer.model)),
            state=State.QUEUED,
            version=1,
            run=1,
            attempt=0,
            max_attempts=job.max_attempts,
            priority=job.priority,
            fence=0,
            calls=0,
            unknown_outcomes=0,
            regenerated=0,
            worker_losses=0,
            created_at=at,
            deadline_at=at + job.deadline_seconds * 1000,
            history=(StateChange(1, at, State.QUEUED, 0),),
            trace=job.trace,
            fallback=None if answer.model == job.spec.model else answer.model,
        ),
        rank=answer.rank,
        gate=answer.gate,
        eta_seconds=answer.eta_seconds,
    )


async def _answer(
    request: Request, parts: AppContext, queued_job: QueuedJob, headers: Mapping[str, str]
) -> Response:
    """Respond with the job: at once, or when it is final if the client prefers to wait."""
    seconds = preferred_wait(request.headers)
    all_headers = {**headers, "Location": f"/v1/jobs/{queued_job.job.id}"}
    if seconds is None:
        return job_response(parts.view, queued_job, _ACCEPTED, all_headers)
    all_headers["Preference-Applied"] = f"wait={seconds}"
    queued_job = await until_final(parts, queued_job, seconds)
    return job_response(
        parts.view, queued_job, 200 if is_final(queued_job) else _ACCEPTED, all_headers
    )


async def until_final(parts: AppContext, queued_job: QueuedJob, seconds: float) -> QueuedJob:
    """Wait for a job to end. Errors until then are ignored, because the job is accepted."""
    job = queued_job.job
    if is_final(queued_job):
        return queued_job
    try:
        later = await parts.wait_for(job.id, job.tenant, is_final, seconds)
    except (StoreError, HistoryDown):
        return queued_job
    return later or queued_job


def version_tag(queued_job: QueuedJob) -> str:
    """Return the entity tag of a job: weak, because its position changes without it."""
    return f'W/"{queued_job.job.version}"'


def unchanged(queued_job: QueuedJob) -> Response:
    """Respond 304, with the caching headers of the 200."""
    return Response(None, 304, _caching(queued_job))


def job_response(
    view: View, queued_job: QueuedJob, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Respond with a job and its entity tag."""
    all_headers = {**_caching(queued_job), **(headers or {})}
    return Response(orjson.dumps(view.job(queued_job)), status, all_headers, "application/json")


def _caching(queued_job: QueuedJob) -> Mapping[str, str]:
    return {"ETag": version_tag(queued_job), "Cache-Control": "private, no-cache"}
