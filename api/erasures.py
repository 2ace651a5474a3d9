"""Delete many jobs: counted first, then confirmed, then carried out by a worker."""

from dataclasses import replace
from typing import Annotated, Literal

import orjson
from fastapi import Depends
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator, CurrentTenant
from api.headers import sends_headers
from api.jobs.schemas import Confirmed, JobFilterBody
from api.json_body import JsonBody
from api.ops.jobs import tenant_to_search
from api.ops.schemas import FilterBody
from api.problems import BODY, FieldError, Problem, invalid, not_found, problems, tenant_gone
from api.routing import tenant_router
from shared.history.search import FINAL_STATUSES, JobSearch
from shared.jobs import Status
from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.store.erasures import (
    ERASURES_MAX,
    Erasure,
    NewErasure,
    begin_any_erasure,
    begin_erasure,
    begin_tenant_erasure,
    is_erasure_id,
    new_erasure_id,
    read_erasure,
)
from shared.store.tenants import NAME

#: Jobs that are counted at most; all that match are deleted nevertheless.
COUNT_MAX = 100_000
_ACCEPTED = 202


tenant_routes = tenant_router("jobs")
operator_routes = tenant_router("operators")


class DeleteBody(Confirmed):
    """Deletes the final jobs that match: counted first, then confirmed."""

    filter: JobFilterBody


class DeleteAnyBody(DeleteBody):
    """The same over all tenants."""

    filter: FilterBody


class Counted(TypedDict):
    """How many final jobs match; `more` if there are more than were counted."""

    count: Count
    more: bool


class ErasureShown(TypedDict):
    """A deletion in progress, or done."""

    id: str
    status: Literal["running", "done"]
    count: Annotated[Count, Field(description="Jobs that matched when it was requested")]
    deleted: Annotated[Count, Field(description="Jobs deleted so far")]
    created_at: Time
    finished_at: Time | None


_RESPONSES = {
    200: {"description": "How many would be deleted (`dry_run`)", "model": Counted},
    202: sends_headers("Location"),
    **problems("count_changed", "too_many_erasures", "history_unavailable", "redis_full", *BODY),
}


@tenant_routes.post(
    "/v1/jobs/delete",
    status_code=_ACCEPTED,
    response_model=ErasureShown,
    response_description="They are being deleted",
    responses=_RESPONSES,
)
async def delete_jobs(
    parts: Context,
    principal: CurrentTenant,
    body: Annotated[DeleteBody, Depends(JsonBody(DeleteBody))],
) -> Response:
    """Delete the final jobs of a filter, with their images, previews and webhook deliveries.

    First send `dry_run`, which counts; then send that number as `expected_count`. If more match by
    then, nothing is deleted. Jobs created after the request stay.
    """
    counted = await _counted(parts, principal.tenant, body)
    if isinstance(counted, Response):
        return counted
    outcome = await parts.committer.run(begin_erasure(counted, api_key=principal.key_id))
    if outcome == "gone":
        raise tenant_gone()
    if outcome == "full":
        detail = f"The tenant has {ERASURES_MAX} deletions in progress. Nothing was deleted."
        raise Problem("too_many_erasures", detail)
    return await _accepted(parts, counted.id, "/v1/erasures")


@tenant_routes.get(
    "/v1/erasures/{erasure_id}",
    response_model=ErasureShown,
    response_description="The erasure",
    responses=problems("not_found"),
)
async def get_erasure(parts: Context, principal: CurrentTenant, erasure_id: str) -> Response:
    """Read the progress of a deletion; it is kept for 30 days."""
    return _response(await _existing(parts, erasure_id, principal.tenant))


@operator_routes.post(
    "/ops/v1/jobs/delete",
    operation_id="delete_any_jobs",
    status_code=_ACCEPTED,
    response_model=ErasureShown,
    response_description="They are being deleted",
    responses=_RESPONSES,
)
async def delete_any_jobs(
    parts: Context,
    audit_context: CurrentOperator,
    body: Annotated[DeleteAnyBody, Depends(JsonBody(DeleteAnyBody))],
) -> Response:
    """Delete the final jobs of a filter, of one tenant or of all; counted first."""
    tenant = await tenant_to_search(parts, body.filter.tenant, body.filter.batch_id)
    counted = await _counted(parts, tenant, body, prefix=body.filter.id)
    if isinstance(counted, Response):
        return counted
    await parts.committer.run(begin_any_erasure(audit_context, counted))
    return await _accepted(parts, counted.id, "/ops/v1/erasures")


@operator_routes.delete(
    "/ops/v1/tenants/{tenant}",
    status_code=_ACCEPTED,
    response_model=ErasureShown,
    response_description="It is being deleted",
    responses={202: sends_headers("Location"), **problems("not_found", "redis_full")},
)
async def delete_tenant(parts: Context, audit_context: CurrentOperator, tenant: str) -> Response:
    """Delete a tenant with its keys, jobs, images, deliveries and history.

    Its keys are deleted at once. Queued and running jobs are canceled. Until all is deleted, the
    tenant cannot be changed, and a second request returns the same erasure. The sums of its usage
    by day stay without tags, and the audit entries about it without details.
    """
    erasure_id = None
    if NAME.fullmatch(tenant):
        call = begin_tenant_erasure(audit_context, new_erasure_id(), tenant)
        erasure_id = await parts.committer.run(call)
    if erasure_id is None:
        raise not_found("tenant")
    return await _accepted(parts, erasure_id, "/ops/v1/erasures")


@operator_routes.get(
    "/ops/v1/erasures/{erasure_id}",
    operation_id="get_any_erasure",
    response_model=ErasureShown,
    response_description="The erasure",
    responses=problems("not_found"),
)
async def get_any_erasure(parts: Context, erasure_id: str) -> Response:
    """Read the progress of a deletion; it is kept for 30 days."""
    return _response(await _existing(parts, erasure_id, ""))


async def _counted(
    parts: AppContext, tenant: str | None, body: DeleteBody, *, prefix: str | None = None
) -> NewErasure | Response:
    """Count the jobs; return the response of a dry run, or the erasure that is confirmed."""
    parts.redis_monitor.ensure_capacity()
    _check(body)
    wanted = body.filter.filter()
    search = JobSearch(tenant, wanted, prefix=prefix, among=tuple(FINAL_STATUSES))
    count, more = await _count(parts, search)
    if body.dry_run:
        shown: Counted = {"count": count, "more": more}
        return Response(orjson.dumps(shown), 200, {"Cache-Control": "no-store"}, "application/json")
    if count > (body.expected_count or 0):
        detail = f"{count} jobs match now; none was deleted. Count again with `dry_run`."
        raise Problem("count_changed", detail, more={"count": count, "more": more})
    return NewErasure(new_erasure_id(), tenant, wanted, count, prefix)


def _check(body: DeleteBody) -> None:
    """Refuse combinations that the schema allows."""
    faults = body.faults()
    if body.filter.status in {Status.QUEUED, Status.RUNNING}:
        allowed = ", ".join(sorted(FINAL_STATUSES))
        faults.append(FieldError("/filter/status", f"must be one of: {allowed}"))
    if faults:
        raise invalid(faults)


async def _count(parts: AppContext, search: JobSearch) -> tuple[int, bool]:
    count, before = 0, None
    while count <= COUNT_MAX:
        found = await parts.records.job_ids(replace(search, before=before))
        count, before = count + len(found.ids), found.before
        if before is None:
            return count, False
    return COUNT_MAX, True


async def _accepted(parts: AppContext, erasure_id: str, below: str) -> Response:
    headers = {"Location": f"{below}/{erasure_id}"}
    return _response(await _existing(parts, erasure_id, ""), _ACCEPTED, headers)


async def _existing(parts: AppContext, erasure_id: str, tenant: str) -> Erasure:
    found = None
    if is_erasure_id(erasure_id):
        found = await parts.committer.run(read_erasure(erasure_id, tenant=tenant))
    if found is None:
        raise not_found("erasure")
    return found


def erasure_shown(erasure: Erasure) -> ErasureShown:
    """Write an erasure."""
    return {
        "id": erasure.id,
        "status": "done" if erasure.finished_at else "running",
        "count": erasure.found,
        "deleted": erasure.deleted,
        "created_at": rfc3339(erasure.created_at),
        "finished_at": rfc3339(erasure.finished_at),
    }


def _response(
    erasure: Erasure, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(erasure_shown(erasure)), status, all_headers, "application/json")
