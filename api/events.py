"""`GET /v1/events`: the tenant's feed of changes, for clients that missed webhooks."""

import re
import time
from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, cast

import orjson
from fastapi import Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentTenant
from api.long_poll import tenant_channel
from api.problems import Problem, problems
from api.query import (
    OPTIONAL,
    QueryModel,
    Wait,
    decode_cursor,
    encode_cursor,
    integer,
    is_given,
)
from api.routing import tenant_router
from shared.jobs import Status
from shared.schemas import Count, Time, Url
from shared.serializers import rfc3339
from shared.store.events import NOW, EventPage, FeedEvent, read_events

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
_CURSOR = re.compile(r"[0-9]{1,15}-[0-9]{1,19}")
EventName = Literal[
    "job.queued",
    "job.started",
    "job.succeeded",
    "job.failed",
    "job.canceled",
    "webhook.failing",
    "webhook.recovered",
    "webhook.disabled",
    "webhook.enabled",
]
#: The event names of status changes; webhook types where they exist.
_TYPES: Mapping[Status, EventName] = {
    Status.QUEUED: "job.queued",
    Status.RUNNING: "job.started",
    Status.SUCCEEDED: "job.succeeded",
    Status.FAILED: "job.failed",
    Status.CANCELED: "job.canceled",
}

router = tenant_router("events")


class Event(TypedDict):
    """A change of a job's status, or of a webhook endpoint."""

    type: EventName
    cursor: Annotated[str, Field(description="Use as `after` to continue with the next event")]
    at: Time
    job_id: NotRequired[str]
    version: NotRequired[Count]
    status: NotRequired[Status]
    endpoint_id: NotRequired[str]
    url: NotRequired[Url]
    reason: NotRequired[str | None]


class Feed(TypedDict):
    """A page of the feed."""

    data: list[Event]
    next_cursor: str


def read_cursor(written: str) -> str:
    """Parse a cursor, or `now`; raise ValueError otherwise."""
    if written == "now":
        return NOW
    cursor = decode_cursor(written)
    if not _CURSOR.fullmatch(cursor):
        raise ValueError("is not a valid cursor of this feed")
    return cursor


class _FeedQuery(QueryModel):
    after: Annotated[
        str | None,
        is_given(read_cursor),
        OPTIONAL,
        Field(description="`next_cursor` of the previous response, or `now`"),
    ] = None
    limit: Annotated[
        int,
        Field(ge=1, le=LIMIT_MAX, description="Entries at once"),
        is_given(integer(1, LIMIT_MAX)),
    ] = LIMIT_DEFAULT
    wait: Annotated[
        Wait, Field(description="Seconds to wait for an event before an empty response is returned")
    ] = None


@router.get(
    "/v1/events",
    response_model=Feed,
    response_description="What changed, oldest first",
    responses=problems("cursor_expired"),
)
async def get_event_feed(
    parts: Context, principal: CurrentTenant, query: Annotated[_FeedQuery, Query()]
) -> Response:
    """Read the changes after a cursor: job statuses, and endpoints that failed or recovered.

    Without `after`, the feed starts with the oldest stored change, up to seven days ago;
    `after=now` starts with the next change. `next_cursor` is always present: use it for the next
    request. `?wait=N` (1 to 60 seconds) holds an empty response until there is a change.
    """
    page = await _page(parts, principal.tenant, query.after, query.limit, query.wait or 0)
    body: Feed = {
        "data": [_shown(one) for one in page.events],
        "next_cursor": encode_cursor(page.after),
    }
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
                    "Events after this cursor have expired. Start without `after`, "
                    "and read the jobs you know.",
                )
            if page.events or not seconds or parts.notifications.closing:
                return page
            after = page.after
            if not await subscription.wait_until(ends_at):
                return page


def _shown(event: FeedEvent) -> Event:
    fields = event.fields
    cursor, at = encode_cursor(event.id), rfc3339(event.at)
    if "job" not in fields:
        return {
            "type": cast("EventName", fields.get("type", "")),
            "cursor": cursor,
            "at": at,
            "endpoint_id": fields.get("endpoint", ""),
            "url": fields.get("url", ""),
            "reason": fields.get("why") or None,
        }
    status = Status(fields["status"])
    return {
        "type": _TYPES[status],
        "cursor": cursor,
        "at": at,
        "job_id": fields["job"],
        "version": int(fields["version"]),
        "status": status,
    }
