"""A total time limit for whatever blocking network work a thread does.

Neither httpx nor urllib3 has one: their timeouts bound one read, so a peer that drips a byte now
and then holds a request for ever. Here the limit belongs to the thread, and every socket operation
(`shared.net.sockets`) asks how much of it is left.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: When the current block has to be over, on the monotonic clock; None is never.
_ends_at: ContextVar[float | None] = ContextVar("darkroom_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all network work of this thread inside the block to `seconds` in total.

    Blocks nest; the earlier end wins. Nothing is interrupted by itself: the socket operation that
    runs into the end raises TimeoutError, which each client library turns into its own.
    Not to be held across the `yield` of a generator, where it would bound the consumer.
    """
    outer = _ends_at.get()
    inner = time.monotonic() + seconds
    token = _ends_at.set(inner if outer is None else min(outer, inner))
    try:
        yield
    finally:
        _ends_at.reset(token)


def remaining() -> float | None:
    """Give the seconds left of this thread's deadline (0 or less: over), None where it has none."""
    ends_at = _ends_at.get()
    return None if ends_at is None else ends_at - time.monotonic()


def within(own: float | None) -> float | None:
    """Give the time an operation may take: its `own` timeout or what is left, the smaller.

    Both in seconds, None for no limit. Raises TimeoutError where nothing is left.
    """
    left = remaining()
    if left is None:
        return own
    if left <= 0:
        raise TimeoutError("the total time is used up")
    return left if own is None else min(own, left)
