"""`GET /v1/events`: the caller's feed of changes, for whoever lost a webhook."""

import re
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.headers import WAIT_SECONDS_MAX
from api.parts import Parts, parts_of, tenant_of
from api.problems import Problem
from api.query import Query, hide, reveal, whole_number
from api.waiting import heard
from api.wake import tenant_bell
from shared.store.feed import NOW, FeedPage, News, read_feed
from shared.view import rfc3339

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
_PLACE = re.compile(r"[0-9]{1,15}-[0-9]{1,19}")
#: What a change of status is called; the types of webhooks where there is one.
_TYPES = {"queued": "job.queued", "running": "job.started"}


async def get_feed(request: Request) -> Response:
    """Read what changed after a cursor: statuses of jobs, and receivers that failed or came back.

    Without `after` it begins with the oldest that is kept, seven days ago; `after=now` begins with
    what comes from now on. `next_cursor` is always there: go on with it. `?wait=N` (1 to 60
    seconds) holds an empty answer until there is news.
    """
    parts, holder = parts_of(request), await tenant_of(request)
    query = Query(request)
    after = query.take("after", read_cursor)
    limit = query.take("limit", whole_number(1, LIMIT_MAX)) or LIMIT_DEFAULT
    seconds = query.take("wait", whole_number(1, WAIT_SECONDS_MAX)) or 0
    query.done()
    page = await _page(parts, holder.tenant, after, limit, seconds)
    body = {"data": [_shown(one) for one in page.news], "next_cursor": hide(page.after)}
    headers = {"Cache-Control": "private, no-store"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


async def _page(parts: Parts, tenant: str, after: str | None, limit: int, seconds: int) -> FeedPage:
    ends_at = time.monotonic() + seconds
    with parts.wake.bell(tenant_bell(tenant)) as bell:
        while True:
            page = await parts.committer.run(read_feed(tenant, after=after, most=limit))
            if page is None:
                raise Problem(
                    "cursor_expired",
                    "What came after this cursor is no longer all kept. Begin without `after`, "
                    "and read the jobs that you know of.",
                )
            if page.news or not seconds or parts.wake.closing:
                return page
            after = page.after
            if not await heard(bell, ends_at):
                return page


def _shown(news: News) -> dict[str, Any]:
    fields = news.fields
    common = {"cursor": hide(news.id), "at": rfc3339(news.at)}
    if "job" not in fields:
        names = ("type", "endpoint", "url", "why")
        kind, endpoint, url, why = (fields.get(name, "") for name in names)
        return {"type": kind, **common, "endpoint_id": endpoint, "url": url, "reason": why or None}
    status = fields["status"]
    return {
        "type": _TYPES.get(status, f"job.{status}"),
        **common,
        "job_id": fields["job"],
        "version": int(fields["version"]),
        "status": status,
    }


def read_cursor(written: str) -> str:
    """Read a cursor, or `now`; raises ValueError for anything else."""
    if written == "now":
        return NOW
    place = reveal(written)
    if not _PLACE.fullmatch(place):
        raise ValueError("is no cursor of this feed")
    return place
