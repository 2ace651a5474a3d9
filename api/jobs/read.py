"""Reading jobs: one, held until it changes if asked; and many, by filter."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_tenant
from api.headers import WAIT_SECONDS_MAX, etag_matches, if_none_match
from api.job_waiting import wait_for
from api.jobs.responses import job_response, unchanged
from api.problems import not_found
from api.query import (
    Query,
    cursor_of,
    encode_cursor,
    enum_member,
    integer,
    milliseconds,
    text,
)
from shared.errors import ErrorCode
from shared.ids import JOB_PREFIX, is_job_id, time_letters
from shared.jobs import Status
from shared.store.job_queries import Filter, Page, QueuedJob, list_jobs

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
#: Records that one request may look at; a filter that finds little gives a short page.
SCAN_LIMIT = 1000
#: A job's id is made by this host's clock and `created_at` by that of Redis: how far apart they
#: may be for `created_after` and `created_before` still to find it.
CLOCK_SKEW_MS = 2000


async def get_job(request: Request, job_id: str) -> Response:
    """Read a job.

    `?wait=N` (1 to 60 seconds) holds the answer until the job is another than `If-None-Match`
    names. Without that header it is held until the job changes, and a final one is given at once.
    """
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    seconds = query.take("wait", integer(1, WAIT_SECONDS_MAX))
    query.done()
    etags = if_none_match(request.headers)
    queued_job = await read_job(parts, job_id, principal.tenant)
    if seconds is not None and _is_held(queued_job, etags):
        seen = queued_job.job.version

        def changed(now: QueuedJob) -> bool:
            return now.job.version != seen

        queued_job = _existing(await wait_for(parts, job_id, principal.tenant, changed, seconds))
    if etags is not None and etag_matches(etags, str(queued_job.job.version)):
        return unchanged(queued_job)
    return job_response(parts.view, queued_job)


def _is_held(queued_job: QueuedJob, etags: str | None) -> bool:
    if etags is None:
        return not queued_job.job.state.is_final
    # `*` names every version: no change would make it another
    return etags.strip() != "*" and etag_matches(etags, str(queued_job.job.version))


async def read_job(parts: AppContext, job_id: str, tenant: str) -> QueuedJob:
    """Read a job; raises a Problem where there is none. What is no id is not asked about."""
    return _existing(await parts.read(job_id, tenant) if is_job_id(job_id) else None)


def _existing(queued_job: QueuedJob | None) -> QueuedJob:
    if queued_job is None:
        raise not_found()
    return queued_job


async def get_jobs(request: Request) -> Response:
    """List jobs, newest first. A page may be short and still have a cursor to go on with."""
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    wanted = Filter(
        status=query.take("status", enum_member(Status)),
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
    call = list_jobs(
        principal.tenant,
        wanted,
        before=before,
        oldest=id_bound(wanted.created_after, -CLOCK_SKEW_MS),
        newest=id_bound(wanted.created_before, CLOCK_SKEW_MS),
        limit=limit,
        scan_limit=SCAN_LIMIT,
    )
    return _page(parts, await parts.committer.run(call))


def _page(parts: AppContext, page: Page) -> Response:
    view = parts.view
    body = {
        "data": [view.job(queued_job) for queued_job in page.jobs],
        "next_cursor": encode_cursor(page.before) if page.before else None,
    }
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


def id_bound(milliseconds: int | None, shift: int) -> str | None:
    """Give the id that a job of that time would begin with."""
    if milliseconds is None:
        return None
    return JOB_PREFIX + time_letters(max(milliseconds + shift, 0))
