"""Claim the next member of a queue, waiting while the gate is closed, without holding anything."""

import uuid
from collections.abc import Callable
from typing import TypeVar

from shared import metrics
from shared.errors import StoreError
from shared.logs import log
from shared.store.command import Command
from shared.store.transitions import Closed
from worker.context import PATIENCE_SECONDS, WorkerContext

T = TypeVar("T")
_LOG = log(__name__)


#: While the gate is closed, one thread of a process retries at this interval, in seconds: usually a
#: key or a model is held, and work for another may arrive at any time.
GATE_POLL_SECONDS = 0.25


def claim_when_open(
    context: WorkerContext, queue: str, build: Callable[[str], Command[T | Closed | None]]
) -> T | None:
    """Claim with the command that `build` makes of a nonce, waiting while the gate is closed.

    Return None if there is nothing to do, if the process stops, or if another thread of this
    process already waits for the gate. One thread retries; the others stay free for later permits.
    If the process also serves the other queue, this thread retries only once, and the sweep pushes
    another permit for it.
    """
    found: T | Closed | None = Closed("", 0)
    # closed for zero seconds: the claim ended its limit of overdue or canceled jobs; claim again
    while isinstance(found, Closed) and not found.seconds:
        if context.stopping.is_set():
            return None
        found = _claim_until_answered(context, build(uuid.uuid4().hex))
    if not isinstance(found, Closed):
        return found
    turn = context.gate_turns[queue]
    if not turn.acquire(blocking=False):
        return None
    try:
        while not context.stopping.wait(min(found.seconds, GATE_POLL_SECONDS)):
            found = _claim_until_answered(context, build(uuid.uuid4().hex))
            if not isinstance(found, Closed):
                return found
            if len(context.leases) > 1:
                break
        return None
    finally:
        turn.release()


def _claim_until_answered(
    context: WorkerContext, call: Command[T | Closed | None]
) -> T | Closed | None:
    """Retry until Redis replies: the same nonce gets the same member, so none is lost."""
    while True:
        try:
            return context.store.run(call)
        except StoreError as error:
            metrics.REDIS_ERRORS.inc()
            _LOG.warning("claim not answered", error=str(error))
        if context.stopping.wait(PATIENCE_SECONDS):
            return None
