"""`GET /v1/jobs/{id}/events`: the history of a job as server-sent events, resumable.

Events come from the stored history, never from the notification itself, so no reconnect loses any.
"""

import re
import time
from collections.abc import AsyncIterator, Iterator

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.context import AppContext, Context, CurrentTenant
from api.headers import head_of_stream, is_head, reads_headers
from api.long_poll import SAFETY_SECONDS
from api.problems import FieldError, invalid, not_found, problems
from api.routing import tenant_router
from shared.errors import HistoryDown, StoreError
from shared.ids import is_job_id
from shared.jobs import Job, StateChange
from shared.serializers import rfc3339

COMMENT_SECONDS = 15.0
#: The client's reconnect delay, in milliseconds.
_RETRY_MS = 1000
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would otherwise buffer the events
}


router = tenant_router("jobs")


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=Response,
    response_description="One event for each change",
    responses={
        200: {"content": {"text/event-stream": {}}},
        204: {"description": "The job is final and has no further events"},
        **problems("not_found"),
    },
    openapi_extra=reads_headers(Last_Event_ID="Resume after the event with this id"),
)
async def get_events(
    request: Request, parts: Context, principal: CurrentTenant, job_id: str
) -> Response:
    """Follow a job: one event per change, until it is final.

    An event is named after the new status, or `change` if the status stayed. `Last-Event-ID`
    resumes after that version; if a final job has no further events, the response is 204.
    """
    after = _last_event_id(request.headers.get("last-event-id"))
    queued_job = await parts.read(job_id, principal.tenant) if is_job_id(job_id) else None
    if queued_job is None:
        raise not_found()
    # not its version, which the deletion of its image raises without an event
    if queued_job.job.state.is_final and not any(events_after(queued_job.job, after)):
        return Response(None, 204)
    if is_head(request):
        return head_of_stream(_HEADERS, "text/event-stream")
    stream = _Stream(parts, job_id, principal.tenant, after)
    return StreamingResponse(stream.text(), 200, _HEADERS, "text/event-stream")


def _last_event_id(written: str | None) -> int:
    if not written:
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", written):
        raise invalid(
            [FieldError("/header/Last-Event-ID", "must be the id of an event of this job")]
        )
    return int(written)


class _Stream:
    """The position of one client in the history of a job."""

    def __init__(self, parts: AppContext, job_id: str, tenant: str, after: int) -> None:
        self._parts = parts
        self._job_id = job_id
        self._tenant = tenant
        self._after = after
        self._is_over = False

    async def text(self) -> AsyncIterator[bytes]:
        """Yield the text to send, until the final event, or the end of the job or the process."""
        yield f"retry: {_RETRY_MS}\n\n".encode()
        sent_at = time.monotonic()
        with self._parts.notifications.subscribe(self._job_id) as subscription:
            while True:
                events = await self._next_events()
                comment_in = sent_at + COMMENT_SECONDS - time.monotonic()
                if events or comment_in <= 0:
                    yield events or b": still here\n\n"
                    sent_at = time.monotonic()
                    comment_in = COMMENT_SECONDS
                if self._is_over or self._parts.notifications.closing:
                    return
                await subscription.wait(min(comment_in, SAFETY_SECONDS))

    async def _next_events(self) -> bytes:
        try:
            queued_job = await self._parts.read(self._job_id, self._tenant)
        except (StoreError, HistoryDown):
            return b""  # it is unavailable: keep the stream open, and resume later
        if queued_job is None:
            self._is_over = True
            return b""
        events = b"".join(events_after(queued_job.job, self._after))
        self._after = max(self._after, queued_job.job.version)
        self._is_over = queued_job.job.state.is_final
        return events


def events_after(job: Job, version: int) -> Iterator[bytes]:
    """Write the changes after a version as events."""
    before = None
    for change in job.history:
        if change.version > version:
            yield _event(change, is_new_status=change.state.status is not before)
        before = change.state.status


def _event(change: StateChange, *, is_new_status: bool) -> bytes:
    name = change.state.status.value if is_new_status else "change"
    data = {
        "version": change.version,
        "status": change.state.status.value,
        "step": change.state.step,
        "attempt": change.attempt,
        "at": rfc3339(change.at),
    }
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (change.version, name.encode(), orjson.dumps(data))
