"""Reading jobs: one, held until it changes if asked; and many, by filter."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.headers import WAIT_SECONDS_MAX, etag_matches, if_none_match
from api.jobs.show import job_response, unchanged
from api.parts import Parts, parts_of, tenant_of
from api.problems import not_found
from api.query import (
    Query,
    cursor_of,
    hide,
    milliseconds,
    text,
    whole_number,
    word_of,
)
from api.waiting import wait_for
from shared.errors import ErrorCode
from shared.ids import JOB_PREFIX, is_job_id, time_letters
from shared.jobs import Status
from shared.store.reading import Filter, Page, Standing, list_jobs

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
#: Records that one request may look at; a filter that finds little gives a short page.
LOOK = 1000
#: A job's id is made by this host's clock and `created_at` by that of Redis: how far apart they
#: may be for `created_after` and `created_before` still to find it.
CLOCKS_APART_MS = 2000


async def get_job(request: Request, job_id: str) -> Response:
    """Read a job.

    `?wait=N` (1 to 60 seconds) holds the answer until the job is another than `If-None-Match`
    names. Without that header it is held until the job changes, and a final one is given at once.
    """
    parts, holder = parts_of(request), await tenant_of(request)
    query = Query(request)
    seconds = query.take("wait", whole_number(1, WAIT_SECONDS_MAX))
    query.done()
    known = if_none_match(request.headers)
    standing = await read_job(parts, job_id, holder.tenant)
    if seconds is not None and _is_held(standing, known):
        seen = standing.job.version

        def changed(now: Standing) -> bool:
            return now.job.version != seen

        standing = _existing(await wait_for(parts, job_id, holder.tenant, changed, seconds))
    if known is not None and etag_matches(known, str(standing.job.version)):
        return unchanged(standing)
    return job_response(parts.view, standing)


def _is_held(standing: Standing, known: str | None) -> bool:
    if known is None:
        return not standing.job.state.is_final
    # `*` names every version: no change would make it another
    return known.strip() != "*" and etag_matches(known, str(standing.job.version))


async def read_job(parts: Parts, job_id: str, tenant: str) -> Standing:
    """Read a job; raises a Problem where there is none. What is no id is not asked about."""
    return _existing(await parts.read(job_id, tenant) if is_job_id(job_id) else None)


def _existing(standing: Standing | None) -> Standing:
    if standing is None:
        raise not_found()
    return standing


async def get_jobs(request: Request) -> Response:
    """List jobs, newest first. A page may be short and still have a cursor to go on with."""
    parts, holder = parts_of(request), await tenant_of(request)
    query = Query(request)
    wanted = Filter(
        status=query.take("status", word_of(Status)),
        batch_id=query.take("batch_id", text),
        tag=query.take("tag", text),
        model=query.take("model", text),
        error_code=query.take("error_code", word_of(ErrorCode)),
        created_after=query.take("created_after", milliseconds),
        created_before=query.take("created_before", milliseconds),
    )
    limit = query.take("limit", whole_number(1, LIMIT_MAX)) or LIMIT_DEFAULT
    before = query.take("cursor", cursor_of(is_job_id))
    query.done()
    call = list_jobs(
        holder.tenant,
        wanted,
        before=before,
        oldest=id_bound(wanted.created_after, -CLOCKS_APART_MS),
        newest=id_bound(wanted.created_before, CLOCKS_APART_MS),
        limit=limit,
        look=LOOK,
    )
    return _page(parts, await parts.committer.run(call))


def _page(parts: Parts, page: Page) -> Response:
    view = parts.view
    body = {
        "data": [view.job(standing) for standing in page.jobs],
        "next_cursor": hide(page.before) if page.before else None,
    }
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


def id_bound(milliseconds: int | None, shift: int) -> str | None:
    """Give the id that a job of that time would begin with."""
    if milliseconds is None:
        return None
    return JOB_PREFIX + time_letters(max(milliseconds + shift, 0))
