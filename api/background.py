"""Ending a task for good."""

import asyncio
from typing import Any

_REPEAT_SECONDS = 0.1


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task until it is over, and forget what came of it.

    Once is not enough: redis-py swallows a cancellation that comes just as a reply does.
    """
    if task is None:
        return
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_REPEAT_SECONDS)
    if not task.cancelled():
        task.exception()  # asked for, so that nobody complains that it never was
