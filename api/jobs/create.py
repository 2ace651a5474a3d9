"""`POST /v1/jobs`: the 202 means that the job is on disk."""

from collections.abc import Mapping
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from api.edge import TRACE
from api.headers import preferred_wait
from api.jobs.ask import Asking, new_job
from api.jobs.dry_run import forecast_response
from api.jobs.reuse import with_copy
from api.jobs.show import job_response
from api.json_body import require_json
from api.parts import Parts, parts_of, span_of, tenant_of
from api.problems import Problem
from api.query import Query
from api.refusals import rate_headers, refusal
from api.waiting import is_final, wait_for
from shared import metrics
from shared.errors import OutcomeLost, StoreError
from shared.jobs import Change, Job, State
from shared.logs import log
from shared.store.asking import Accepted, NewJob, NotAccepted, accept
from shared.store.call import Call
from shared.store.reading import Standing
from shared.store.tenants import Holder

_CREATED = 202
_REPLAYED = {"Idempotent-Replayed": "true"}
T = TypeVar("T")
_log = log(__name__)


async def create_job(request: Request) -> Response:
    """Accept a job.

    With `Prefer: wait=N` (1 to 60 seconds) the answer is held until the job is final. With
    `dry_run` nothing is accepted, and the answer says what would be.
    """
    parts = parts_of(request)
    holder = await tenant_of(request)
    Query(request).done()
    require_json(request)
    asking = asking_of(request, parts, holder)
    job = new_job(await request.body(), asking)
    if job.dry_run:
        return await forecast_response(parts, job)
    return await accept_new(request, parts, await with_copy(parts, job) if job.spec.reuse else job)


async def accept_new(request: Request, parts: Parts, job: NewJob) -> Response:
    """Accept a job that was checked, and answer with it."""
    standing, headers = await queued(request, parts, job)
    return await _answer(request, parts, standing, headers)


async def queued(request: Request, parts: Parts, job: NewJob) -> tuple[Standing, Mapping[str, str]]:
    """Accept a job that was checked; gives it, new or its key's from before, and what is told."""
    call = accept(job, not_after_ms=not_after_ms(parts))
    answer = await accepted(request, parts, call, job.id)
    if isinstance(answer, Accepted):
        metrics.JOBS_ACCEPTED.labels(job.spec.model, job.priority.value).inc()
        _log.info("job accepted", job_id=job.id)
        return await _standing(parts, job, answer), rate_headers(answer.rate)
    return await _known(parts, job, answer), _REPLAYED


def asking_of(request: Request, parts: Parts, holder: Holder) -> Asking:
    """Say who asks for a job by this request, and what decides whether it may."""
    trace = request.scope[TRACE]
    return Asking(holder, parts.settings, idempotency_key(request), trace)


def idempotency_key(request: Request) -> str | None:
    """Give the key; several are one that cannot be, so that none of them is silently ignored."""
    keys = request.headers.getlist("idempotency-key")
    return ", ".join(keys) if keys else None


def not_after_ms(parts: Parts) -> float:
    """Give the time after which nothing may be accepted any more; raises where there is no room."""
    parts.watch.check_room()
    return parts.watch.now_ms() + parts.settings.redis_timeout_seconds * 1000


async def accepted(request: Request, parts: Parts, call: Call[T], job_id: str) -> T:
    """Accept; a lost answer is a Problem that names the (first) job."""
    try:
        with span_of(request).step("accept", job_id=job_id):
            return await parts.committer.run(call)
    except OutcomeLost as error:
        raise Problem(
            "accept_unknown",
            "The job store did not answer in time. Read the job to see whether it is there.",
            headers={"Location": f"/v1/jobs/{job_id}"},
            more={"job_id": job_id},
        ) from error


async def _known(parts: Parts, job: NewJob, answer: NotAccepted) -> Standing:
    """Give the job that this idempotency key made before; raises a Problem for other refusals."""
    if answer.why == "replayed":
        standing = await parts.read(answer.detail, job.tenant)
        if standing:
            return standing
        answer = NotAccepted("gone", answer.detail)  # deleted in between
    raise refusal(answer)


async def _standing(parts: Parts, job: NewJob, answer: Accepted) -> Standing:
    """Say how an accepted job stands."""
    standing = _accepted_job(job, answer)
    if job.reused is None:
        return standing
    metrics.JOBS_FINISHED.labels(job.spec.model, "succeeded", "").inc()
    metrics.JOB_TOTAL_SECONDS.labels("succeeded").observe(0)
    try:
        return await parts.read(job.id, job.tenant) or standing
    except StoreError:  # it is accepted all the same
        return standing


def _accepted_job(job: NewJob, answer: Accepted) -> Standing:
    """Say how a queued job stands, from what is known: asking again would tell nothing more."""
    at = answer.created_at
    return Standing(
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
            crashes=0,
            created_at=at,
            deadline_at=at + job.deadline_seconds * 1000,
            history=(Change(1, at, State.QUEUED, 0),),
            trace=job.trace,
        ),
        rank=answer.rank,
        gate=answer.gate,
        eta_seconds=answer.eta_seconds,
    )


async def _answer(
    request: Request, parts: Parts, standing: Standing, headers: Mapping[str, str]
) -> Response:
    """Answer with the job: at once, or when it is final if the client prefers to wait."""
    seconds = preferred_wait(request.headers)
    told = {**headers, "Location": f"/v1/jobs/{standing.job.id}"}
    if seconds is None:
        return job_response(parts.view, standing, _CREATED, told)
    told["Preference-Applied"] = f"wait={seconds}"
    standing = await until_final(parts, standing, seconds)
    return job_response(parts.view, standing, 200 if is_final(standing) else _CREATED, told)


async def until_final(parts: Parts, standing: Standing, seconds: float) -> Standing:
    """Wait for the end of a job. Whatever happens meanwhile, it is accepted and that is told."""
    job = standing.job
    if is_final(standing):
        return standing
    try:
        later = await wait_for(parts, job.id, job.tenant, is_final, seconds)
    except StoreError:
        return standing
    return later or standing
