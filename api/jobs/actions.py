"""Routes that change an existing job: cancel, retry, reproduce, delete."""

from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import refusal
from api.context import AppContext, app_context, current_tenant
from api.jobs.create import enqueue_new, idempotency_key
from api.jobs.parsing import fingerprint, key_faults, safety_faults
from api.jobs.read import read_job
from api.jobs.responses import job_response
from api.middleware import TRACE
from api.problems import Problem, invalid, not_found
from api.query import Query
from api.webhooks import url_validation
from shared.ids import is_job_id
from shared.ids import job_id as new_id
from shared.jobs import Job, Status
from shared.logs import log
from shared.store import job_submission
from shared.store.command import Command
from shared.store.job_queries import QueuedJob
from shared.store.job_submission import NewJob, NotAccepted
from shared.store.tenants import Principal

_log = log(__name__)


async def cancel_job(request: Request, job_id: str) -> Response:
    """Cancel a job: a queued one at once and for nothing, a running one by dropping its result."""
    parts, principal = await _caller(request, job_id)
    return await _changed(
        parts, job_submission.cancel(job_id, tenant=principal.tenant), "job canceled"
    )


async def retry_job(request: Request, job_id: str) -> Response:
    """Run a failed or canceled job again, as the same job: `run` counts it.

    What was bought for it and not found wanting is not bought again.
    """
    parts, principal = await _caller(request, job_id)
    parts.redis_monitor.ensure_capacity()
    if not principal.may_disable_safety:
        _check_safety((await read_job(parts, job_id, principal.tenant)).job, principal)
    seconds = parts.settings.deadline_seconds
    call = job_submission.rerun(job_id, tenant=principal.tenant, deadline_seconds=seconds)
    return await _changed(parts, call, "job sent again")


async def reproduce_job(request: Request, job_id: str) -> Response:
    """Make the image of a job again: a new job with the same input, seed, webhook and tags.

    Takes `Idempotency-Key` and `Prefer: wait=N` as a new job does.
    """
    parts, principal = await _caller(request, job_id)
    key = idempotency_key(request)
    if faults := key_faults(key):
        raise invalid(faults)
    job = (await read_job(parts, job_id, principal.tenant)).job
    _check_safety(job, principal)
    webhook = job.spec.webhook
    return await enqueue_new(
        request,
        parts,
        NewJob(
            id=new_id(),
            tenant=principal.tenant,
            spec=job.spec,
            priority=job.priority,
            deadline_seconds=parts.settings.deadline_seconds,
            max_attempts=parts.settings.max_attempts,
            idempotency_key=key,
            fingerprint=fingerprint(f'["reproduce","{job_id}"]'.encode()) if key else "",
            webhook_host=url_validation.delivery_host(webhook["url"]) if webhook else "",
            credits=parts.price_of(job.spec.model) or 0.0,
            trace=request.scope[TRACE],
        ),
    )


async def delete_job(request: Request, job_id: str) -> Response:
    """Forget a final job and its image, now."""
    parts, principal = await _caller(request, job_id)
    found = await parts.committer.run(job_submission.delete_job(job_id, tenant=principal.tenant))
    if isinstance(found, Status):
        raise _wrong_state(found)
    if not found:
        raise not_found()
    _log.info("job forgotten", job_id=job_id)
    return Response(status_code=204)


def _check_safety(job: Job, principal: Principal) -> None:
    """Check that a job which was accepted before may still run without the safety checker."""
    if faults := safety_faults(job.spec.input, principal):
        raise invalid(faults)


async def _caller(request: Request, job_id: str) -> tuple[AppContext, Principal]:
    """Give the parts and who asks; what is no id of a job is not asked about."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    if not is_job_id(job_id):
        raise not_found()
    return parts, principal


async def _changed(
    parts: AppContext, call: Command[Job | Status | NotAccepted | None], audit_action: str
) -> Response:
    """Make a move that a client asked for, which the log calls `told`; answer with the job."""
    found = await parts.committer.run(call)
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
    return Problem("job_final", f"The job is {status.value} and stays so.", more=more)
