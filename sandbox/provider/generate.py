"""`POST /api/features`: check, take a step of the script, write it down, and answer as it says.

A request that is refused for its key or its content takes no step. What makes no picture answers at
once; the rest after the latency.
"""

from starlette.requests import Request
from starlette.responses import Response

from sandbox.provider import steps
from sandbox.provider.answers import Sale, answer
from sandbox.provider.checks import Order, check
from sandbox.provider.connection import pause
from sandbox.provider.records import Record
from sandbox.provider.replies import Refusal, dead_key
from sandbox.provider.state import State, state_of


async def generate(request: Request) -> Response:
    """Answer one generate call."""
    state = state_of(request)
    body = await request.body()
    if not state.keys.admit(request.headers):
        return _refuse(state, dead_key())
    order = check(body, request.headers.get("content-type", ""))
    if isinstance(order, Refusal):
        return _refuse(state, order)
    sale = _sell(request, state, order)
    await pause(request.receive, _seconds_until_answer(sale))
    return await answer(sale.step, sale)


def _refuse(state: State, refusal: Refusal) -> Response:
    state.ledger.note("generate", str(refusal.status))
    return refusal.response()


def _sell(request: Request, state: State, order: Order) -> Sale:
    """Take the next step, make the record that it leaves, and write the call down."""
    step = state.behavior.take()
    leaves_record = step.is_paid or isinstance(step, steps.FailureRecord)
    latency_seconds = state.behavior.latency_of(step)
    record = state.records.make(order, step, latency_seconds) if leaves_record else None
    state.ledger.note(
        "generate",
        str(step.status) if isinstance(step, steps.Status) else step.name,
        order=_asked(order, record),
        paid=step.is_paid,
        record_id=record.id if record else None,
    )
    return Sale(request, state, order, step, record)


def _asked(order: Order, record: Record | None) -> tuple[str, float | None]:
    seed = order.prompt_object.get("seed") if record is None else record.seed
    return order.prompt_object["prompt"], seed


def _seconds_until_answer(sale: Sale) -> float:
    if isinstance(sale.step, steps.Hang):
        return sale.step.seconds
    if sale.record is None or sale.order.is_async:
        return 0
    return sale.state.behavior.latency_of(sale.step)
