"""The reply of each step to a generate call; normally a successful record."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sandbox.provider import faults
from sandbox.provider.connection import Dropped
from sandbox.provider.error_responses import busy, gateway_page, json_response, refused
from sandbox.provider.records import Record
from sandbox.provider.state import State
from sandbox.provider.validation import GenerateRequest

CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """An accepted call: its step, and its record, if it has one."""

    request: Request
    state: State
    order: GenerateRequest
    step: faults.StepBody
    record: Record | None
    latency_seconds: float


@singledispatch
async def answer(step: faults.StepBody, call: AcceptedCall) -> Response:
    """Reply to a call according to its step; successfully by default."""
    if call.record is None:
        raise AssertionError(f"{step.name} makes nothing, so it needs an answer of its own")
    unfinished = call.order.is_async or isinstance(step, faults.Stuck)
    if not unfinished:
        # timers of the event loop may end a millisecond early: the URL must work from now on
        call.record.ready_at = min(call.record.ready_at, time.monotonic())
    status = "PROCESSING" if unfinished else call.record.final_status
    return json_response(record_reply(call.record, status, call.state, call.request))


@answer.register
async def _status(step: faults.Status, _sale: AcceptedCall) -> Response:
    return refused(step)


@answer.register
async def _busy(step: faults.MisleadingBusy, _sale: AcceptedCall) -> Response:
    return busy(step.status if step.details else None, step.message).response()


@answer.register
async def _lost(step: faults.MadeBut522, _sale: AcceptedCall) -> Response:
    return gateway_page(step.status)


@answer.register
async def _hung(step: faults.Hang, call: AcceptedCall) -> Response:
    return await answer(faults.Ok(), call) if step.paid else gateway_page(504)


@answer.register
async def _dropped(step: faults.Drop, _sale: AcceptedCall) -> Response:
    return Dropped(reset=step.reset)


@answer.register
async def _malformed(_step: faults.Malformed, _sale: AcceptedCall) -> Response:
    return Response(b'{"aiRecord": {"uuid": "b2c3d4e5', media_type="application/json")


@answer.register
async def _empty(_step: faults.Empty, _sale: AcceptedCall) -> Response:
    return Response(b"", media_type="application/json")


@answer.register
async def _huge(step: faults.HugeReply, _sale: AcceptedCall) -> Response:
    return StreamingResponse(_json_of(step.bytes), media_type="application/json")


async def _json_of(count: int) -> AsyncIterator[bytes]:
    """Yield one JSON object of `count` bytes, a chunk at a time."""
    opening, closing = b'{"aiRecord":"', b'"}'
    yield opening
    left = count - len(opening) - len(closing)
    while left > 0:
        yield b"x" * min(CHUNK_BYTES, left)
        left -= CHUNK_BYTES
    yield closing


def record_reply(record: Record, status: str, state: State, request: Request) -> dict[str, Any]:
    """Write the reply with a record, including an image URL once it is ready."""
    if status != "SUCCESS":
        return {"aiRecord": record.shown(status, None)}
    withheld = record.withholds_url
    url = _moved(state.address_of(record, request), record.step)
    if withheld:
        return {"aiRecord": record.shown(status, None)}
    if isinstance(record.step, faults.Url) and record.step.place == "top":
        return {"aiRecord": record.shown(status, None), "temporaryUrl": url}
    return {"aiRecord": record.shown(status, url)}


def _moved(url: str, step: faults.StepBody) -> str:
    if not isinstance(step, faults.Url):
        return url
    if step.host is not None:
        return urlunsplit(urlsplit(url)._replace(netloc=step.host))
    return step.url or url
