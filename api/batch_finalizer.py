"""Work that follows the commit, cancellation or discarding of a batch, after the response.

If Redis or this process fails, the sweep of a worker does it.
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
    """Process batches in the background, one chunk at a time each."""

    def __init__(self, committer: GroupCommitClient) -> None:
        """Take the store that runs the scripts."""
        self._committer = committer
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Start accepting work."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, leaving unfinished work to the sweep."""
        for task in tuple(self._tasks):
            await end(task)

    def schedule(self, batch_id: str) -> None:
        """Process a batch soon."""
        self._begin(self._finalize(batch_id))

    def discard(self, batch_id: str) -> None:
        """Discard a staged batch soon; a batch that was committed stays."""
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
