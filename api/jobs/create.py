"""Accepting a job: the 202 means that it is on disk."""

from collections.abc import Mapping
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
from shared.errors import OutcomeUnknown, StoreError
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
    """Accept a job that was checked, and answer with it."""
    queued_job, headers = await enqueue(request, parts, job)
    return await _answer(request, parts, queued_job, headers)


async def enqueue(
    request: Request, parts: AppContext, job: NewJob
) -> tuple[QueuedJob, Mapping[str, str]]:
    """Accept a job that was checked; gives it, new or its key's from before, and what is told."""
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
    """Say who asks for a job by this request, and what decides whether it may."""
    trace = request.scope[TRACE]
    return JobRequestContext(principal, parts.settings, idempotency_key(request), trace)


def idempotency_key(request: Request) -> str | None:
    """Give the key; several are one that cannot be, so that none of them is silently ignored."""
    keys = request.headers.getlist("idempotency-key")
    return ", ".join(keys) if keys else None


def not_after_ms(parts: AppContext) -> float:
    """Give the time after which nothing may be accepted any more; raises where there is no room."""
    parts.redis_monitor.ensure_capacity()
    return parts.redis_monitor.now_ms() + parts.settings.redis_timeout_seconds * 1000


async def submit(request: Request, parts: AppContext, call: Command[T], job_id: str) -> T:
    """Accept; a lost answer is a Problem that names the (first) job."""
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
    """Give the job that this idempotency key made before; raises a Problem for other refusals."""
    if answer.reason == "replayed":
        queued_job = await parts.read(answer.detail, job.tenant)
        if queued_job:
            return queued_job
        answer = NotAccepted("gone", answer.detail)  # deleted in between
    raise refusal(answer)


async def _queued_job(parts: AppContext, job: NewJob, answer: Accepted) -> QueuedJob:
    """Say how an accepted job stands."""
    queued_job = _accepted_job(job, answer)
    if job.reused is None:
        return queued_job
    metrics.JOBS_FINISHED.labels(job.spec.model, "succeeded", "").inc()
    metrics.JOB_TOTAL_SECONDS.labels("succeeded").observe(0)
    try:
        return await parts.read(job.id, job.tenant) or queued_job
    except StoreError:  # it is accepted all the same
        return queued_job


def _accepted_job(job: NewJob, answer: Accepted) -> QueuedJob:
    """Say how a queued job stands, from what is known: asking again would tell nothing more."""
    at = answer.created_at
    return QueuedJob(
        Job(
            id=job.id,
            tenant=job.tenant,
            spec=job.spec,
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
        ),
        rank=answer.rank,
        gate=answer.gate,
        eta_seconds=answer.eta_seconds,
    )


async def _answer(
    request: Request, parts: AppContext, queued_job: QueuedJob, headers: Mapping[str, str]
) -> Response:
    """Answer with the job: at once, or when it is final if the client prefers to wait."""
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
    """Wait for the end of a job. Whatever happens meanwhile, it is accepted and that is told."""
    job = queued_job.job
    if is_final(queued_job):
        return queued_job
    try:
        later = await parts.wait_for(job.id, job.tenant, is_final, seconds)
    except StoreError:
        return queued_job
    return later or queued_job


def version_tag(queued_job: QueuedJob) -> str:
    """Return a job's entity tag: weak, since its position changes without it."""
    return f'W/"{queued_job.job.version}"'


def unchanged(queued_job: QueuedJob) -> Response:
    """Answer that the client has the job as it is, with what the 200 says of keeping it."""
    return Response(None, 304, _caching(queued_job))


def job_response(
    view: View, queued_job: QueuedJob, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a job with its entity tag."""
    all_headers = {**_caching(queued_job), **(headers or {})}
    return Response(orjson.dumps(view.job(queued_job)), status, all_headers, "application/json")


def _caching(queued_job: QueuedJob) -> Mapping[str, str]:
    return {"ETag": version_tag(queued_job), "Cache-Control": "private, no-cache"}
