"""Send and copy stored images, each verified by size and SHA-256.

The storage is read in threads; its connections are always released.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar
from weakref import WeakValueDictionary

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.headers import Range
from shared import metrics
from shared.errors import DarkroomError, ObjectDamaged
from shared.jobs import Image
from shared.logs import log
from shared.storage.client import ObjectStore
from shared.storage.stored_object import StoredObject, verified

T = TypeVar("T")

_log = log(__name__)

#: An image up to this size is read completely before sending, so that a slow client holds no
#: storage connection.
BUFFERED_BYTES = 2 * 1024 * 1024
#: Larger images sent at once, each for as long as its client reads; further ones wait.
STREAMS = 32
#: Those of one tenant, so that slow clients of its images do not keep others from theirs.
STREAMS_OF_TENANT = 8
#: Larger images in memory at once, each for as long as the storage takes; further ones wait.
WHOLE = 8
#: Threads that read the storage.
READERS = 16
#: Connections to the storage.
CONNECTIONS = READERS + STREAMS


class Part(NamedTuple):
    """The part of an image to send: all of it, or a range."""

    image: Image
    range: Range | None

    @property
    def first(self) -> int:
        """The first byte."""
        return self.range.first if self.range else 0

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.range.length if self.range else self.image.bytes


class ImageStreamer:
    """Open images for sending."""

    def __init__(self, storage: ObjectStore, threads: Executor) -> None:
        """Take the storage, and the threads that may block on it."""
        self._storage = storage
        self._threads = threads
        self._streams = asyncio.Semaphore(STREAMS)
        self._streams_of = WeakValueDictionary[str, asyncio.Semaphore]()
        self._whole_images = asyncio.Semaphore(WHOLE)

    async def response(
        self, part: Part, tenant: str, status: int, headers: dict[str, str]
    ) -> Response:
        """Return a response with these bytes; raise StorageDown, ObjectMissing, ObjectDamaged.

        `tenant` is the one whose image it is.

        A small image is verified before any byte, also of a range, is sent. Of a larger one, the
        last chunk is held back until it is verified, and not sent if the image is damaged.
        """
        if part.image.bytes <= BUFFERED_BYTES:
            data = await self.whole(part.image)
            return Response(data[part.first : part.first + part.length], status, headers)
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._stream(tenant))
            opened = await self.in_thread(partial(self._open, part.image.key))
            held.push_async_callback(self._close, opened)
            return Streaming(opened, part, self, held.pop_all(), status, headers)

    async def whole(self, image: Image) -> bytes:
        """Return the bytes of an image; raise StorageDown, ObjectMissing, ObjectDamaged."""
        async with self._turn(image):
            return await self.in_thread(partial(self._whole, image))

    async def copy(self, source: Image, key: str, job_id: str) -> None:
        """Copy an image to another job; raise like `whole`.

        The bytes pass through this process, so that neither a damaged image nor a failed copy by
        the storage becomes the image of a job.
        """
        async with self._turn(source):
            data = await self.in_thread(partial(self._whole, source))
            await self.put(replace(source, key=key), data, job_id)

    async def put(self, image: Image, data: bytes, job_id: str) -> None:
        """Write or overwrite an object; raise StorageDown."""
        await self.in_thread(partial(self._put, image, data, job_id))

    async def find(self, key: str) -> bytes | None:
        """Return a small object whose checksum is not known; None if there is none.

        Raise StorageDown, and ObjectDamaged if it is not what the storage says.
        """
        return await self.in_thread(partial(self._find, key))

    def in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run what blocks in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def next_chunk(self, chunks: Iterator[bytes], key: str) -> bytes:
        """Read the next chunk of an object; empty at the end."""
        return await self.in_thread(partial(self._next, chunks, key))

    async def _close(self, opened: StoredObject) -> None:
        """Release the connection, also after a disconnect."""
        await asyncio.shield(self.in_thread(opened.close))

    @asynccontextmanager
    async def _stream(self, tenant: str) -> AsyncIterator[None]:
        """Limit the large images being sent; a tenant over its share waits for its own only."""
        share = self._streams_of.setdefault(tenant, asyncio.Semaphore(STREAMS_OF_TENANT))
        async with share, self._streams:
            yield

    def _turn(self, image: Image) -> AbstractAsyncContextManager[None]:
        """Limit the large images in memory; no client can make one wait by reading slowly."""
        return nullcontext() if image.bytes <= BUFFERED_BYTES else self._whole_images

    def _open(self, key: str) -> StoredObject:
        with metrics.STORAGE_SECONDS.labels("read").time(), _counted("read", key):
            return self._storage.read(key)

    def _next(self, chunks: Iterator[bytes], key: str) -> bytes:
        with _counted("read", key):
            return next(chunks, b"")

    def _whole(self, image: Image) -> bytes:
        """Read an image; retry once if it is damaged, because the damage may be in transit."""
        try:
            return self._read(image)
        except ObjectDamaged:
            return self._read(image)

    def _read(self, image: Image) -> bytes:
        with metrics.STORAGE_SECONDS.labels("read").time(), _counted("read", image.key):
            return self._storage.read_all(image.key, size=image.bytes, sha256=image.sha256)

    def _find(self, key: str) -> bytes | None:
        with metrics.STORAGE_SECONDS.labels("read").time(), _counted("read", key):
            return self._storage.find(key, max_bytes=BUFFERED_BYTES)

    def _put(self, image: Image, data: bytes, job_id: str) -> None:
        key, kind, sha256 = image.key, image.content_type, image.sha256
        with metrics.STORAGE_SECONDS.labels("put").time(), _counted("put", key):
            self._storage.put(key, data, content_type=kind, sha256=sha256, job_id=job_id)


@contextmanager
def _counted(operation: str, key: str) -> Iterator[None]:
    """Count a failed storage operation, and log which object is damaged."""
    try:
        yield
    except DarkroomError as error:
        metrics.STORAGE_ERRORS.labels(operation).inc()
        if isinstance(error, ObjectDamaged):
            _log.warning("stored image damaged", key=key)
        raise


class Streaming(Response):
    """A large image being sent, one chunk in memory at a time."""

    def __init__(
        self,
        opened: StoredObject,
        part: Part,
        images: ImageStreamer,
        held: AsyncExitStack,
        status: int,
        headers: dict[str, str],
    ) -> None:
        """Take an open object, and what to release after sending or failing."""
        super().__init__(None, status, {**headers, "content-length": str(part.length)})
        self._held = held
        self._key = part.image.key
        self._chunks = verified(
            opened,
            size=part.image.bytes,
            sha256=part.image.sha256,
            first=part.first,
            stop=part.first + part.length,
        )
        self._images = images

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI
        """Send until the end, or until the client disconnects."""
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._send_all(send, gone)
        finally:
            gone.cancel()
            await self._held.aclose()

    async def _send_all(self, send: Send, gone: "asyncio.Task[None]") -> None:
        # a fault in the first chunk can still become a problem response
        chunk = await self._images.next_chunk(self._chunks, self._key)
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        while chunk and not gone.done():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await self._images.next_chunk(self._chunks, self._key)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
