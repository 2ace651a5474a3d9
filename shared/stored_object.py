"""An object of the storage that is being read."""

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from shared.errors import StorageDown
from shared.net.deadline import deadline

CHUNK_BYTES = 64 * 1024


class StoredObject:
    """The bytes of an object, once, in chunks; gives its connection back at the end or on close.

    The time waited for the storage is bounded in total; that of a slow reader is not counted.

    May be closed from any thread and more than once: an iteration that was left closes too, in
    whichever thread lets go of it last, and a connection given back twice serves two at once.
    """

    def __init__(self, response: BaseHTTPResponse, *, timeout_seconds: float) -> None:
        self._response = response
        self._left_seconds = timeout_seconds
        self._is_read = False
        self._is_closed = False
        self._turn = threading.RLock()  # a finalizer may come in the very thread that holds it

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
        """Give the connection back, once: to the pool where all was read, else closed.

        Waits for a read that is under way.
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
            raise StorageDown(f"The storage stopped answering ({type(error).__name__}).") from error
        finally:
            self._left_seconds -= time.monotonic() - started_at
