"""A total time limit for all blocking network operations of a thread.

Neither httpx nor urllib3 has one: their timeouts limit one read, so a peer that sends a byte now
and then can hold a request forever. Here the limit belongs to the thread, and every socket
operation (`shared.net.sockets`) asks how much of it is left.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: The end of the current block on the monotonic clock; None means no limit.
_ends_at: ContextVar[float | None] = ContextVar("darkroom_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit all network operations of this thread inside the block to `seconds` in total.

    Blocks nest; the earlier end applies. Nothing is interrupted: the socket operation that reaches
    the end raises TimeoutError, which each client library translates. Do not hold it across the
    `yield` of a generator, where it would limit the consumer.
    """
    outer = _ends_at.get()
    inner = time.monotonic() + seconds
    token = _ends_at.set(inner if outer is None else min(outer, inner))
    try:
        yield
    finally:
        _ends_at.reset(token)


def remaining() -> float | None:
    """Return the seconds left of this thread's deadline (0 or less: over); None without one."""
    ends_at = _ends_at.get()
    return None if ends_at is None else ends_at - time.monotonic()


def within(own: float | None) -> float | None:
    """Return the time an operation may take: its `own` timeout or what is left, the smaller.

    Both in seconds, None for no limit. Raise TimeoutError if nothing is left.
    """
    left = remaining()
    if left is None:
        return own
    if left <= 0:
        raise TimeoutError("the total time is used up")
    return left if own is None else min(own, left)
