"""Does, behind the answer, what follows from committing, canceling or giving up a batch.

Whatever is not done here, because Redis or this process went away, a worker's sweep does.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

from api.background import end
from shared.errors import StoreError
from shared.logs import log
from shared.store.batches import BatchWork, advance_batch, discard_batch
from shared.store.group_commit import GroupCommitClient

_LOG = log(__name__)


class BatchFinalizer:
    """Tends batches in the background, one chunk at a time each."""

    def __init__(self, committer: GroupCommitClient) -> None:
        """Take what runs the calls."""
        self._committer = committer
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Begin when asked to."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave what is not done to the sweep."""
        for task in tuple(self._tasks):
            await end(task)

    def schedule(self, batch_id: str) -> None:
        """Do what is to be done about a batch, soon."""
        self._begin(self._finalize(batch_id))

    def discard(self, batch_id: str) -> None:
        """Take a stage away, soon; a batch that was committed stays."""
        self._begin(self._discard(batch_id))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _discard(self, batch_id: str) -> None:
        try:
            await self._committer.run(discard_batch(batch_id))
        except StoreError as error:
            _LOG.info(
                "batch stage left to the sweep", batch_id=batch_id, cause=type(error).__name__
            )
        else:
            await self._finalize(batch_id)

    async def _finalize(self, batch_id: str) -> None:
        try:
            while await self._committer.run(advance_batch(batch_id)) is BatchWork.MORE:
                pass
        except StoreError as error:
            _LOG.info("batch left to the sweep", batch_id=batch_id, cause=type(error).__name__)
