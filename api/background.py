"""Cancellation of background tasks."""

import asyncio
from typing import Any

_REPEAT_SECONDS = 0.1


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task until it ends, and discard its result.

    One cancellation is not enough: redis-py swallows one that arrives together with a reply.
    """
    if task is None:
        return
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_REPEAT_SECONDS)
    if not task.cancelled():
        task.exception()  # retrieve the exception, so that asyncio does not report it
