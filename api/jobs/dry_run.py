"""`dry_run: true`: estimate a job without creating it."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.admission_errors import rate_headers, refusal
from api.context import AppContext
from api.jobs.result_cache import archived_image
from api.models import Price, price_shown
from api.problems import KINDS, Problem, problem_of
from shared.errors import StoreFull
from shared.jobs import WaitingOn
from shared.schemas import Count
from shared.serializers import waiting_reason
from shared.store.dry_run import DryRunResult, dry_run
from shared.store.job_submission import NewJob


class Refusal(TypedDict):
    """The problem that the job would be refused with."""

    code: Annotated[str, Field(json_schema_extra={"enum": sorted(KINDS)})]
    title: str
    status: Count
    detail: str
    retry_after: Count | None


class Estimate(TypedDict):
    """The estimate of a job."""

    dry_run: Literal[True]
    would_accept: bool
    refusal: Refusal | None
    model: str
    price: Price | None
    reused_from: str | None
    waiting_on: WaitingOn | None
    position: Count | None
    eta_seconds: float | None


async def dry_run_response(parts: AppContext, job: NewJob) -> Response:
    """Respond with cost, queue position and acceptance of a validated job."""
    found = await parts.committer.run(dry_run(job))
    if job.spec.reuse and not found.reused_from and (archived := await archived_image(parts, job)):
        found = await parts.committer.run(dry_run(job, archived=archived))
    problem = _refusal(parts, found)
    body: Estimate = {
        "dry_run": True,
        "would_accept": problem is None,
        "refusal": _shown(problem) if problem else None,
        "model": job.spec.model,
        "price": price_shown(0.0 if found.reused_from else parts.price_of(job.spec.model)),
        "reused_from": found.reused_from,
        "waiting_on": None if found.reused_from else waiting_reason(found.gate),
        "position": None if found.reused_from else found.rank,
        "eta_seconds": 0.0 if found.reused_from else found.eta_seconds,
    }
    headers = {"Cache-Control": "no-store", **rate_headers(found.rate)}
    return Response(orjson.dumps(body), 200, headers, "application/json")


def _refusal(parts: AppContext, found: DryRunResult) -> Problem | None:
    try:
        parts.redis_monitor.ensure_capacity()
    except StoreFull as error:
        return problem_of(error)
    return refusal(found.refusal) if found.refusal else None


def _shown(problem: Problem) -> Refusal:
    """Write a refusal as a member of the response."""
    shown: Refusal = {
        "code": problem.code,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        "retry_after": problem.retry_after,
    }
    more: Any = problem.more  # the members specific to a kind of problem
    return {**shown, **more}
