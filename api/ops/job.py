"""One job, whosesoever it is, with all that is known of it."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.jobs.read import read_job
from api.ops.attempts import attempts, timeline
from api.ops.deliveries import delivery_detail
from api.ops.tenants import answered
from api.query import Query
from shared.jobs import Job
from shared.store.delivery_log import list_deliveries, read_delivery

#: Deliveries that are shown with a job, the newest.
DELIVERIES = 20


async def get_any_job(request: Request, job_id: str) -> Response:
    """Read a job with its timeline, every attempt at it, and what was told of it to whom.

    Its picture is at `image.url`: that address is signed and needs no key.
    """
    parts, _ = app_context(request), await current_operator(request)
    Query(request).done()
    queued_job = await read_job(parts, job_id, "")
    job = queued_job.job
    return answered(
        {
            "tenant": job.tenant,
            **parts.view.job(queued_job),
            "timeline": timeline(job),
            "attempts": attempts(job),
            "workers_lost": job.worker_losses,
            "trace_id": _trace_id(job),
            "deliveries": await _deliveries(parts, job.id),
        }
    )


def _trace_id(job: Job) -> str | None:
    """Give the id of the trace that a job is part of, as its traceparent has it."""
    return job.trace.split("-")[1] if job.trace else None


async def _deliveries(parts: AppContext, job_id: str) -> list[dict[str, Any]]:
    """Give what was told of a job, newest first, with every attempt that is kept."""
    run = parts.committer.run
    page = await run(list_deliveries("", job_id=job_id, limit=DELIVERIES, scan_limit=DELIVERIES))
    found = await asyncio.gather(*(run(read_delivery(one.id, tenant="")) for one in page.entries))
    return [delivery_detail(entry) for entry in found if entry is not None]
