"""An object of the storage being read."""

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse

from shared.errors import ObjectDamaged, StorageDown
from shared.net.timeouts import deadline

CHUNK_BYTES = 64 * 1024


class StoredObject:
    """The bytes of an object, once, in chunks; the connection is released at the end or on close.

    The time spent waiting for the storage is limited in total; that of a slow reader is not
    counted.

    It may be closed from any thread and repeatedly: an abandoned iteration closes too, in whichever
    thread drops it last, and a connection released twice would serve two at once.
    """

    def __init__(self, response: BaseHTTPResponse, *, timeout_seconds: float) -> None:
        self._response = response
        self._left_seconds = timeout_seconds
        self._is_read = False
        self._is_closed = False
        self._turn = threading.RLock()  # a finalizer may run in the very thread that holds it

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response; their names are compared without case."""
        return self._response.headers

    def __iter__(self) -> Iterator[bytes]:
        with self:
            while chunk := self._next():
                yield chunk
            self._is_read = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connection once: to the pool if everything was read, else close it.

        Wait for a read in progress.
        """
        with self._turn:
            if self._is_closed:
                return
            self._is_closed = True
        if not self._is_read:
            self._response.close()
        self._response.release_conn()

    def _next(self) -> bytes:
        with self._turn:
            if self._is_closed:
                raise StorageDown("The object was closed before its end.")
            return self._read()

    def _read(self) -> bytes:
        started_at = time.monotonic()
        try:
            with deadline(self._left_seconds):
                return self._response.read(CHUNK_BYTES)
        except (HTTPError, OSError) as error:
            if isinstance(error, ProtocolError) and not isinstance(error.__cause__, OSError):
                raise ObjectDamaged("The storage sent less than it announced.") from error
            raise StorageDown(f"The storage stopped answering ({type(error).__name__}).") from error
        finally:
            self._left_seconds -= time.monotonic() - started_at


def verified(
    chunks: Iterable[bytes], *, size: int, sha256: str, first: int = 0, stop: int | None = None
) -> Iterator[bytes]:
    """Yield the bytes of an object from `first` to before `stop`, verifying all of it.

    The last chunk is yielded only after all `size` bytes were read and match this SHA-256
    (hexadecimal). Raise ObjectDamaged otherwise, before more than `size` bytes are yielded.
    """
    stop = size if stop is None else stop
    digest, seen, held = hashlib.sha256(), 0, b""
    for chunk in chunks:
        piece = chunk[max(first - seen, 0) : max(stop - seen, 0)]
        digest.update(chunk)
        seen += len(chunk)
        if seen > size:
            break
        if piece:
            if held:
                yield held
            held = piece
    if seen != size or digest.hexdigest() != sha256:
        raise ObjectDamaged("The storage sent other bytes than were stored.")
    yield held
