"""The jobs of all tenants: read in full, search, retry and cancel in bulk."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator
from api.jobs.routes import JobsQuery, read_job
from api.json_body import JsonBody
from api.ops.attempts import Attempt, Change, attempts, timeline
from api.ops.deliveries import AnyDelivery, delivery_detail
from api.ops.schemas import BulkBody, FilterBody
from api.ops.tenants import answered
from api.problems import BODY, FieldError, Problem, invalid, problems
from api.query import Text, encode_cursor
from api.routing import tenant_router
from shared import schemas
from shared.history.search import JobSearch
from shared.jobs import TRANSITIONS, Job, Status
from shared.schemas import Count
from shared.store.audit import AuditContext
from shared.store.bulk import Action, bulk_transition

#: Jobs that one request changes at most.
BULK_MAX = 10_000
#: Not a valid tenant name: finds nothing for a batch that does not exist.
_NOBODY = "-"
#: Jobs changed in one script, during which Redis serves nobody else.
CHUNK = 25
#: Deliveries shown with a job, newest first.
DELIVERIES = 20

router = tenant_router("operators")


class ListedJob(schemas.Job):
    """A job with its tenant."""

    tenant: str


class AnyJobPage(TypedDict):
    """A page of jobs."""

    data: list[ListedJob]
    next_cursor: str | None


class AnyJob(ListedJob):
    """A job with everything known about it."""

    timeline: list[Change]
    attempts: list[Attempt]
    workers_lost: Annotated[Count, Field(description="Workers that were lost while they held it")]
    trace_id: Annotated[str | None, Field(description="The id under which its trace is found")]
    deliveries: list[AnyDelivery]


class Moved(TypedDict):
    """How many jobs match, and how many were changed."""

    count: Count
    more: bool
    moved: Count
    refused: Mapping[str, Count]


class _AnyJobsQuery(JobsQuery):
    id: Annotated[Text, Field(description="Only jobs whose ids begin with this")] = None
    tenant: Annotated[Text, Field(description="Only of this tenant")] = None


@router.get(
    "/ops/v1/jobs",
    response_model=AnyJobPage,
    response_description="A page, newest first",
)
async def get_all_jobs(parts: Context, query: Annotated[_AnyJobsQuery, Query()]) -> Response:
    """List the jobs of all tenants, newest first. A page may be short and still have a cursor.

    `id` may be a prefix.
    """
    among = (query.status,) if query.status else tuple(Status)
    tenant = await tenant_to_search(parts, query.tenant, query.batch_id)
    search = JobSearch(
        tenant, query.filter(), query.limit, before=query.cursor, prefix=query.id, among=among
    )
    page = await parts.records.jobs(search)
    view = parts.view
    shown: AnyJobPage = {
        "data": [{"tenant": one.job.tenant, **view.job(one)} for one in page.jobs],
        "next_cursor": encode_cursor(page.before) if page.before else None,
    }
    return answered(shown)


@router.get(
    "/ops/v1/jobs/{job_id}",
    response_model=AnyJob,
    response_description="The job",
    responses=problems("not_found"),
)
async def get_any_job(parts: Context, job_id: str) -> Response:
    """Read a job with its timeline, attempts and webhook deliveries.

    Its image is at `image.url`: that URL is signed and needs no key.
    """
    queued_job = await read_job(parts, job_id, "")
    job = queued_job.job
    shown: AnyJob = {
        "tenant": job.tenant,
        **parts.view.job(queued_job),
        "timeline": timeline(job),
        "attempts": attempts(job),
        "workers_lost": job.worker_losses,
        "trace_id": _trace_id(job),
        "deliveries": await _deliveries(parts, job.id),
    }
    return answered(shown)


def _trace_id(job: Job) -> str | None:
    """Return the trace id from a job's traceparent."""
    return job.trace.split("-")[1] if job.trace else None


async def _deliveries(parts: AppContext, job_id: str) -> list[AnyDelivery]:
    """Return the deliveries of a job, newest first, with their stored attempts."""
    records = parts.records
    page = await records.deliveries("", job_id=job_id, limit=DELIVERIES)
    found = await asyncio.gather(*(records.delivery(one.id, "") for one in page.entries))
    return [delivery_detail(entry) for entry in found if entry is not None]


async def tenant_to_search(
    parts: AppContext, tenant: str | None, batch_id: str | None
) -> str | None:
    """Return the tenant to search, None for all: that of the batch, if one is named."""
    if batch_id is None or tenant is not None:
        return tenant
    state = await parts.records.batch(batch_id, "*")
    return state.batch.tenant if state else _NOBODY


_Bulk = Annotated[BulkBody, Depends(JsonBody(BulkBody))]


@router.post(
    "/ops/v1/jobs/retry",
    response_model=Moved,
    response_description="How many match, and how many were changed",
    responses=problems("count_changed", "redis_full", *BODY),
)
async def retry_jobs(parts: Context, audit_context: CurrentOperator, body: _Bulk) -> Response:
    """Run the failed or canceled jobs of a filter again; by default failed ones.

    A job named by its whole `id` is retried in either status.

    First send `dry_run`, which counts; then send that number as `expected_count`. If more match by
    then, nothing changes. At most 10,000 are counted or changed at once, newest first.
    """
    parts.redis_monitor.ensure_capacity()
    return await _move_all(parts, audit_context, body, "rerun", (Status.FAILED,))


@router.post(
    "/ops/v1/jobs/cancel",
    response_model=Moved,
    response_description="How many match, and how many were changed",
    responses=problems("count_changed", "redis_full", *BODY),
)
async def cancel_jobs(parts: Context, audit_context: CurrentOperator, body: _Bulk) -> Response:
    """Cancel the queued and running jobs of a filter; counted first, like retry."""
    return await _move_all(parts, audit_context, body, "cancel", (Status.QUEUED, Status.RUNNING))


async def _move_all(
    parts: AppContext,
    audit_context: AuditContext,
    body: BulkBody,
    action: Action,
    among: tuple[Status, ...],
) -> Response:
    _check(body, action)
    filter_body = body.filter
    if filter_body.id is not None:  # a job named by id is meant, however it ended
        among = tuple({state.status for state in TRANSITIONS[action].sources})
    among = (filter_body.status,) if filter_body.status else among
    tenant = await tenant_to_search(parts, filter_body.tenant, filter_body.batch_id)
    search = JobSearch(tenant, filter_body.filter(), prefix=filter_body.id, among=among)
    ids, more = await _ids(parts, search)
    result: Moved = {"count": len(ids), "more": more, "moved": 0, "refused": {}}
    if body.dry_run:
        return answered(result)
    if len(ids) > (body.expected_count or 0):
        detail = f"{len(ids)} jobs match now; none was changed. Count again with `dry_run`."
        raise Problem("count_changed", detail, more={"count": len(ids), "more": more})
    moved, refused = await _move(parts, audit_context, action, ids, filter_body)
    return answered({**result, "moved": moved, "refused": refused})


def _check(body: BulkBody, action: Action) -> None:
    """Refuse combinations that the schema allows."""
    faults = body.faults()
    allowed = sorted({state.status.value for state in TRANSITIONS[action].sources})
    status = body.filter.status
    if status and status.value not in allowed:
        faults.append(FieldError("/filter/status", f"must be one of: {', '.join(allowed)}"))
    if faults:
        raise invalid(faults)


async def _ids(parts: AppContext, search: JobSearch) -> tuple[list[str], bool]:
    """Return the ids of matching jobs, and whether more match than may be changed at once."""
    ids: list[str] = []
    before: str | None = None
    while len(ids) <= BULK_MAX:
        found = await parts.records.job_ids(replace(search, before=before))
        ids += found.ids
        before = found.before
        if before is None:
            break
    return ids[:BULK_MAX], len(ids) > BULK_MAX


async def _move(
    parts: AppContext,
    audit_context: AuditContext,
    action: Action,
    ids: list[str],
    filter_body: FilterBody,
) -> tuple[int, Mapping[str, int]]:
    """Change jobs chunk by chunk, each in a script of its own."""
    filter_json = filter_body.model_dump(mode="json", exclude_none=True)
    moved, refused = 0, Counter[str]()
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        if action == "rerun":
            await parts.records.bring_back_all(chunk)
        call = bulk_transition(
            AuditContext(audit_context.by, audit_context.request_id),
            action,
            chunk,
            deadline_seconds=parts.settings.deadline_seconds,
            query=filter_json,
        )
        done = await parts.committer.run(call)
        moved += done.moved
        refused.update(done.refused)
    return moved, dict(refused)
