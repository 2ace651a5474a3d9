"""`dry_run: true`: what would become of a job, without its becoming anything."""

from typing import Any

import orjson
from starlette.responses import Response

from api.admission_errors import rate_headers, refusal
from api.context import AppContext
from api.models import price_shown
from api.problems import Problem, problem_of
from shared.errors import StoreFull
from shared.serializers import waiting_reason
from shared.store.dry_run import DryRunResult, dry_run
from shared.store.job_submission import NewJob


async def dry_run_response(parts: AppContext, job: NewJob) -> Response:
    """Answer what a job that was checked would cost, where it would stand, and whether at all."""
    found = await parts.committer.run(dry_run(job))
    problem = _refusal(parts, found)
    body = {
        "dry_run": True,
        "would_accept": problem is None,
        "refusal": problem and _shown(problem),
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


def _shown(problem: Problem) -> dict[str, Any]:
    """Write a refusal as a member of an answer."""
    kind = problem.kind
    refusal = {"code": problem.code, "title": kind.title, "status": kind.status}
    return {**refusal, "detail": problem.detail, "retry_after": problem.retry_after, **problem.more}
