"""Sends and copies stored pictures.

The storage is asked in threads, and always given its connection back.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.headers import Range
from shared import metrics
from shared.errors import DarkroomError
from shared.storage import ObjectStore
from shared.stored_object import StoredObject

T = TypeVar("T")

#: A picture up to this size is fetched whole before the first byte is sent: a slow client then
#: holds no connection to the storage.
WHOLE_BYTES = 2 * 1024 * 1024
#: Larger pictures under way at once; more wait their turn.
STREAMS = 8
#: Threads that read the storage, and connections to it.
READERS = 16


class Part(NamedTuple):
    """What to send of an object: the whole of its `size` bytes, or a range."""

    key: str
    size: int
    range: Range | None

    @property
    def offset(self) -> int:
        """The first byte."""
        return self.range.first if self.range else 0

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.range.length if self.range else self.size


class Pictures:
    """Opens pictures for sending."""

    def __init__(self, storage: ObjectStore, threads: Executor) -> None:
        """Take the storage, and the threads that may wait for it."""
        self._storage = storage
        self._threads = threads
        self._streams = asyncio.Semaphore(STREAMS)

    async def response(self, part: Part, status: int, headers: dict[str, str]) -> Response:
        """Give a response with these bytes; raises StorageDown, ObjectMissing."""
        if part.length <= WHOLE_BYTES:
            return Response(await self._in_thread(partial(self._whole, part)), status, headers)
        await self._streams.acquire()
        try:
            opened = await self._in_thread(partial(self._open, part))
        except BaseException:
            self._streams.release()
            raise
        return Streaming(opened, part.length, self, status, headers)

    async def whole(self, key: str, size: int) -> bytes:
        """Give all of a picture; raises StorageDown, ObjectMissing."""
        if size <= WHOLE_BYTES:
            return await self._in_thread(partial(self._whole, Part(key, size, None)))
        async with self._streams:
            return await self._in_thread(partial(self._whole, Part(key, size, None)))

    async def copy(self, source: str, target: str) -> None:
        """Copy a picture within the storage; raises StorageDown, ObjectMissing."""
        await self._in_thread(partial(self._copy, source, target))

    def give_back(self) -> None:
        """Let the next large picture begin."""
        self._streams.release()

    async def next_chunk(self, chunks: Iterator[bytes]) -> bytes:
        """Read on; nothing at the end."""
        return await self._in_thread(partial(next, chunks, b""))

    async def close(self, opened: StoredObject) -> None:
        """Give the connection back, also when who asked is gone."""
        await asyncio.shield(self._in_thread(opened.close))

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _open(self, part: Part) -> StoredObject:
        with metrics.STORAGE_SECONDS.labels("read").time():
            try:
                return self._storage.read(part.key, offset=part.offset, length=part.length)
            except DarkroomError:
                metrics.STORAGE_ERRORS.labels("read").inc()
                raise

    def _copy(self, source: str, target: str) -> None:
        with metrics.STORAGE_SECONDS.labels("copy").time():
            try:
                self._storage.copy(source, target)
            except DarkroomError:
                metrics.STORAGE_ERRORS.labels("copy").inc()
                raise

    def _whole(self, part: Part) -> bytes:
        return b"".join(self._open(part))


class Streaming(Response):
    """A large picture on its way, one chunk in memory at a time."""

    def __init__(
        self,
        opened: StoredObject,
        length: int,
        pictures: Pictures,
        status: int,
        headers: dict[str, str],
    ) -> None:
        """Take an object that was opened: sending it, or failing to, closes it."""
        super().__init__(None, status, {**headers, "content-length": str(length)})
        self._opened = opened
        self._pictures = pictures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI
        """Send until the end, or until the client is gone."""
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._send_all(send, gone)
        finally:
            gone.cancel()
            self._pictures.give_back()
            await self._pictures.close(self._opened)

    async def _send_all(self, send: Send, gone: "asyncio.Task[None]") -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        chunks = iter(self._opened)
        while not gone.done() and (chunk := await self._pictures.next_chunk(chunks)):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
