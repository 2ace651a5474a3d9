"""`GET /v1/events`: the caller's feed of changes, for whoever lost a webhook."""

import re
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_tenant
from api.headers import WAIT_SECONDS_MAX
from api.job_waiting import heard
from api.long_poll import tenant_channel
from api.problems import Problem
from api.query import Query, decode_cursor, encode_cursor, integer
from shared.serializers import rfc3339
from shared.store.events import NOW, EventPage, FeedEvent, read_events

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
_CURSOR = re.compile(r"[0-9]{1,15}-[0-9]{1,19}")
#: What a change of status is called; the types of webhooks where there is one.
_TYPES = {"queued": "job.queued", "running": "job.started"}


async def get_event_feed(request: Request) -> Response:
    """Read what changed after a cursor: statuses of jobs, and receivers that failed or came back.

    Without `after` it begins with the oldest that is kept, seven days ago; `after=now` begins with
    what comes from now on. `next_cursor` is always there: go on with it. `?wait=N` (1 to 60
    seconds) holds an empty answer until there is news.
    """
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    after = query.take("after", read_cursor)
    limit = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    seconds = query.take("wait", integer(1, WAIT_SECONDS_MAX)) or 0
    query.done()
    page = await _page(parts, principal.tenant, after, limit, seconds)
    body = {"data": [_shown(one) for one in page.events], "next_cursor": encode_cursor(page.after)}
    headers = {"Cache-Control": "private, no-store"}
    return Response(orjson.dumps(body), 200, headers, "application/json")


async def _page(
    parts: AppContext, tenant: str, after: str | None, limit: int, seconds: int
) -> EventPage:
    ends_at = time.monotonic() + seconds
    with parts.notifications.subscribe(tenant_channel(tenant)) as subscription:
        while True:
            page = await parts.committer.run(read_events(tenant, after=after, most=limit))
            if page is None:
                raise Problem(
                    "cursor_expired",
                    "What came after this cursor is no longer all kept. Begin without `after`, "
                    "and read the jobs that you know of.",
                )
            if page.events or not seconds or parts.notifications.closing:
                return page
            after = page.after
            if not await heard(subscription, ends_at):
                return page


def _shown(event: FeedEvent) -> dict[str, Any]:
    fields = event.fields
    common = {"cursor": encode_cursor(event.id), "at": rfc3339(event.at)}
    if "job" not in fields:
        names = ("type", "endpoint", "url", "why")
        kind, endpoint, url, reason = (fields.get(name, "") for name in names)
        return {
            "type": kind,
            **common,
            "endpoint_id": endpoint,
            "url": url,
            "reason": reason or None,
        }
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
    cursor = decode_cursor(written)
    if not _CURSOR.fullmatch(cursor):
        raise ValueError("is no cursor of this feed")
    return cursor
