"""`POST /v1/jobs`: the 202 means that the job is on disk."""

from collections.abc import Mapping
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import rate_headers, refusal
from api.context import AppContext, app_context, current_tenant, span_of
from api.headers import preferred_wait
from api.job_waiting import is_final, wait_for
from api.jobs.dry_run import dry_run_response
from api.jobs.parsing import JobRequestContext, parse_job
from api.jobs.responses import job_response
from api.jobs.result_cache import reuse_image
from api.json_body import require_json
from api.middleware import TRACE
from api.problems import Problem
from api.query import Query
from shared import metrics
from shared.errors import OutcomeUnknown, StoreError
from shared.jobs import Job, State, StateChange
from shared.logs import log
from shared.store.command import Command
from shared.store.job_queries import QueuedJob
from shared.store.job_submission import Accepted, NewJob, NotAccepted, accept
from shared.store.tenants import Principal

_ACCEPTED = 202
_REPLAYED = {"Idempotent-Replayed": "true"}
T = TypeVar("T")
_log = log(__name__)


async def create_job(request: Request) -> Response:
    """Accept a job.

    With `Prefer: wait=N` (1 to 60 seconds) the answer is held until the job is final. With
    `dry_run` nothing is accepted, and the answer says what would be.
    """
    parts = app_context(request)
    principal = await current_tenant(request)
    Query(request).done()
    require_json(request)
    context = job_request_context(request, parts, principal)
    job = parse_job(await request.body(), context)
    if job.dry_run:
        return await dry_run_response(parts, job)
    return await enqueue_new(
        request, parts, await reuse_image(parts, job) if job.spec.reuse else job
    )


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
            "The job store did not answer in time. Read the job to see whether it is there.",
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
        later = await wait_for(parts, job.id, job.tenant, is_final, seconds)
    except StoreError:
        return queued_job
    return later or queued_job
