"""`POST /api/features`: validate, take a step of the script, log the call, and reply.

A request that is refused for its key or its content takes no step. Steps without an image reply at
once; the others after the latency.
"""

from starlette.requests import Request
from starlette.responses import Response

from sandbox.provider import faults
from sandbox.provider.connection import pause
from sandbox.provider.error_responses import Refusal, dead_key
from sandbox.provider.keys import carried
from sandbox.provider.responses import AcceptedCall, answer
from sandbox.provider.state import State, state_of
from sandbox.provider.validation import GenerateRequest, check


async def generate(request: Request) -> Response:
    """Respond to a generate call."""
    state = state_of(request)
    body = await request.body()
    if not state.keys.admit(request.headers):
        return _refuse(request, dead_key())
    order = check(body, request.headers.get("content-type", ""), state.models.active)
    if isinstance(order, Refusal):
        return _refuse(request, order)
    call = _accept(request, state, order)
    await pause(request.receive, _seconds_until_answer(call))
    return await answer(call.step, call)


def _refuse(request: Request, refusal: Refusal) -> Response:
    key = carried(request.headers)
    state_of(request).call_log.note("generate", str(refusal.status), key=key)
    return refusal.response()


def _accept(request: Request, state: State, order: GenerateRequest) -> AcceptedCall:
    """Take the next step, create its record, and log the call."""
    key = carried(request.headers)
    step, latency_seconds = state.behavior.take(key, order.model)
    leaves_record = step.is_paid or isinstance(step, faults.FailureRecord)
    record = state.records.make(order, step, latency_seconds) if leaves_record else None
    state.call_log.note(
        "generate",
        str(step.status) if isinstance(step, faults.Status) else step.name,
        request=record.request if record else order.request,
        key=key,
        paid=step.is_paid,
        record_id=record.shown_id if record else None,
    )
    return AcceptedCall(request, state, order, step, record, latency_seconds)


def _seconds_until_answer(call: AcceptedCall) -> float:
    if isinstance(call.step, faults.Hang):
        return call.step.seconds
    if call.record is None or call.order.is_async:
        return 0
    return call.latency_seconds
