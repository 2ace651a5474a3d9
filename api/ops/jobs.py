"""The jobs of all tenants: found by filter, and moved many at once."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_operator
from api.jobs.read import CLOCK_SKEW_MS, LIMIT_DEFAULT, LIMIT_MAX, SCAN_LIMIT, id_bound
from api.json_body import read_body
from api.ops.schemas import BulkBody, FilterBody, moment_of
from api.ops.tenants import answered
from api.problems import FieldError, Problem, invalid
from api.query import Query, cursor_of, encode_cursor, enum_member, integer, milliseconds, text
from shared.errors import ErrorCode
from shared.ids import is_job_id
from shared.jobs import TRANSITIONS, Status
from shared.store.audit import AuditContext
from shared.store.batches import read_batch
from shared.store.bulk import Action, bulk_transition, find_ids, find_jobs, search_of
from shared.store.job_queries import Filter, Search

#: Jobs that one request moves at most.
BULK_MAX = 10_000
#: No tenant's name: nothing is found of a batch that is not there.
_NOBODY = "-"
#: Jobs moved in one script: Redis serves nobody else meanwhile.
CHUNK = 25


async def get_all_jobs(request: Request) -> Response:
    """List the jobs of all tenants, newest first. A page may be short and still have a cursor.

    `id` may be the beginning of one.
    """
    parts, _ = app_context(request), await current_operator(request)
    query = Query(request)
    begins = query.take("id", text)
    status = query.take("status", enum_member(Status))
    tenant = query.take("tenant", text)
    wanted = Filter(
        status=status,
        batch_id=query.take("batch_id", text),
        tag=query.take("tag", text),
        model=query.take("model", text),
        error_code=query.take("error_code", enum_member(ErrorCode)),
        created_after=query.take("created_after", milliseconds),
        created_before=query.take("created_before", milliseconds),
    )
    limit = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    before = query.take("cursor", cursor_of(is_job_id))
    query.done()
    among = (status,) if status else tuple(Status)
    tenant = await _whose(parts, tenant, wanted.batch_id)
    search = _named(_search(tenant, wanted, among, limit=limit), begins)
    search = replace(search, before=before)
    page = await parts.committer.run(find_jobs(search))
    view = parts.view
    jobs = [{"tenant": one.job.tenant, **view.job(one)} for one in page.jobs]
    cursor = encode_cursor(page.before) if page.before else None
    return answered({"data": jobs, "next_cursor": cursor})


def _search(tenant: str | None, wanted: Filter, among: Collection[Status], *, limit: int) -> Search:
    search = search_of(tenant, wanted, among, limit=limit, scan_limit=SCAN_LIMIT)
    return replace(
        search,
        oldest=id_bound(wanted.created_after, -CLOCK_SKEW_MS),
        newest=id_bound(wanted.created_before, CLOCK_SKEW_MS),
    )


def _named(search: Search, begins: str | None) -> Search:
    """Look only at jobs whose ids begin so."""
    if begins is None:
        return search
    return replace(
        search,
        oldest=max(begins, search.oldest or ""),
        # no id has a letter beyond this one
        newest=min(f"{begins}~", search.newest or "~"),
    )


async def _whose(parts: AppContext, tenant: str | None, batch_id: str | None) -> str | None:
    """Give the tenant to look at: whose the batch is, where one is named."""
    if batch_id is None or tenant is not None:
        return tenant
    state = await parts.committer.run(read_batch(batch_id, tenant="*"))
    return state.batch.tenant if state else _NOBODY


async def retry_jobs(request: Request) -> Response:
    """Send failed or canceled jobs of a filter again: failed ones unless it says otherwise.

    A job that it names by its whole `id` is sent again either way.

    First with `dry_run`, which counts them; then with that number as `expected_count`. If there are
    more by then, none is moved. At most 10,000, the newest first, are counted or moved at once.
    """
    app_context(request).redis_monitor.ensure_capacity()
    return await _bulk(request, "rerun", (Status.FAILED,))


async def cancel_jobs(request: Request) -> Response:
    """Cancel the queued and running jobs of a filter; counted first, as with retry."""
    return await _bulk(request, "cancel", (Status.QUEUED, Status.RUNNING))


async def _bulk(request: Request, action: Action, among: tuple[Status, ...]) -> Response:
    parts, audit_context = app_context(request), await current_operator(request)
    Query(request).done()
    body = await read_body(request, BulkBody)
    _check(body, action)
    filter_body = body.filter
    if filter_body.id is not None:  # one that was named is meant, however it ended
        among = tuple({state.status for state in TRANSITIONS[action].sources})
    among = (filter_body.status,) if filter_body.status else among
    tenant = await _whose(parts, filter_body.tenant, filter_body.batch_id)
    search = _named(_search(tenant, _filter(filter_body), among, limit=SCAN_LIMIT), filter_body.id)
    ids, more = await _ids(parts, search)
    result: dict[str, Any] = {"count": len(ids), "more": more}
    if body.dry_run:
        return answered({**result, "moved": 0, "refused": {}})
    if len(ids) > (body.expected_count or 0):
        detail = f"{len(ids)} jobs fit by now; none was moved. Count again."
        raise Problem("count_changed", detail, more=result)
    moved, refused = await _move(parts, audit_context, action, ids, filter_body)
    return answered({**result, "moved": moved, "refused": refused})


def _check(body: BulkBody, action: Action) -> None:
    """Refuse what the shape of the body alone allows."""
    faults = []
    allowed = sorted({state.status.value for state in TRANSITIONS[action].sources})
    status = body.filter.status
    if status and status.value not in allowed:
        faults.append(FieldError("/filter/status", f"must be one of: {', '.join(allowed)}"))
    if not body.dry_run and body.expected_count is None:
        faults.append(FieldError("/expected_count", "is required: count with `dry_run` first"))
    if faults:
        raise invalid(faults)


def _filter(filter_body: FilterBody) -> Filter:
    return Filter(
        batch_id=filter_body.batch_id,
        tag=filter_body.tag,
        model=filter_body.model,
        error_code=filter_body.error_code,
        created_after=moment_of(filter_body.created_after),
        created_before=moment_of(filter_body.created_before),
    )


async def _ids(parts: AppContext, search: Search) -> tuple[list[str], bool]:
    """Give the ids of jobs that fit, and whether there are more than may be moved at once."""
    ids: list[str] = []
    before: str | None = None
    while len(ids) <= BULK_MAX:
        found = await parts.committer.run(find_ids(replace(search, before=before)))
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
    """Move jobs chunk by chunk, each a deed of its own."""
    filter_json = filter_body.model_dump(mode="json", exclude_none=True)
    moved, refused = 0, Counter[str]()
    for start in range(0, len(ids), CHUNK):
        call = bulk_transition(
            AuditContext(audit_context.by, audit_context.request_id),
            action,
            ids[start : start + CHUNK],
            deadline_seconds=parts.settings.deadline_seconds,
            query=filter_json,
        )
        done = await parts.committer.run(call)
        moved += done.moved
        refused.update(done.refused)
    return moved, dict(refused)
