"""A worker thread's way to its next member: through the gate, holding nothing while it waits."""

import uuid
from collections.abc import Callable
from typing import TypeVar

from shared import metrics
from shared.errors import StoreError
from shared.logs import log
from shared.store.call import Call
from shared.store.moves import Closed
from worker.room import PATIENCE_SECONDS, Room

T = TypeVar("T")
_LOG = log(__name__)


def claim_when_open(room: Room, build: Callable[[str], Call[T | Closed | None]]) -> T | None:
    """Claim with the call that `build` makes of a nonce, waiting while the gate is closed.

    Gives None when there is nothing to do, or when the process is asked to stop. Where it serves
    another queue too, whose gate may be open, a thread waits once only: the sweep makes the permit
    good.
    """
    while not room.stopping.is_set():
        found = _ask(room, build(uuid.uuid4().hex))
        if not isinstance(found, Closed):
            return found
        room.stopping.wait(min(found.seconds, PATIENCE_SECONDS))
        if len(room.leases) > 1:
            break
    return None


def _ask(room: Room, call: Call[T | Closed | None]) -> T | Closed | None:
    """Ask until Redis answers: the same nonce gets the same member, so none is left behind."""
    while True:
        try:
            return room.store.run(call)
        except StoreError as error:
            metrics.REDIS_ERRORS.inc()
            _LOG.warning("redis did not answer a claim", error=str(error))
        if room.stopping.wait(PATIENCE_SECONDS):
            return None
