"""The API on a store that answers at once: the cost of the route itself.

Served like the real one: `uvicorn --factory bench.stub_store:create_app`.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from fastapi import FastAPI

from api import main
from shared.store.command import Command
from shared.store.group_commit import GroupCommitClient
from shared.store.job_submission import Accepted

T = TypeVar("T")


class Instant:
    """A store that accepts every job at once, and sends all other calls to Redis."""

    def __init__(self, committer: GroupCommitClient) -> None:
        """Take the client that sends the other calls to Redis."""
        self._committer = committer

    async def run(self, call: Command[T]) -> T:
        """Run a call."""
        if call.script != "accept":
            return await self._committer.run(call)
        answer: Any = Accepted(time.time_ns() // 1_000_000, 0)
        return cast("T", answer)


def create_app() -> FastAPI:
    """Build the app on the store that answers at once."""
    app = main.create_app()
    opened = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: FastAPI) -> AsyncIterator[None]:
        async with opened(served):
            parts = served.state.parts
            served.state.parts = replace(parts, committer=Instant(parts.committer))
            yield

    app.router.lifespan_context = lifespan
    return app
