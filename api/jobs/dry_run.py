"""`dry_run: true`: what would become of a job, without its becoming anything."""

from typing import Any

import orjson
from starlette.responses import Response

from api.models import price_shown
from api.parts import Parts
from api.problems import Problem, problem_of
from api.refusals import rate_headers, refusal
from shared.errors import StoreFull
from shared.store.asking import NewJob
from shared.store.forecast import Forecast, dry_run
from shared.view import waiting_word


async def forecast_response(parts: Parts, job: NewJob) -> Response:
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
        "waiting_on": None if found.reused_from else waiting_word(found.gate),
        "position": None if found.reused_from else found.rank,
        "eta_seconds": 0.0 if found.reused_from else found.eta_seconds,
    }
    headers = {"Cache-Control": "no-store", **rate_headers(found.rate)}
    return Response(orjson.dumps(body), 200, headers, "application/json")


def _refusal(parts: Parts, found: Forecast) -> Problem | None:
    try:
        parts.watch.check_room()
    except StoreFull as error:
        return problem_of(error)
    return refusal(found.refusal) if found.refusal else None


def _shown(problem: Problem) -> dict[str, Any]:
    """Write a refusal as a member of an answer."""
    kind = problem.kind
    told = {"code": problem.code, "title": kind.title, "status": kind.status}
    return {**told, "detail": problem.detail, "retry_after": problem.retry_after, **problem.more}
