"""Connections that rest between requests, found by whom they lead to.

httpcore's own pool goes through all of its connections whenever a request begins and again when it
ends, asks the system about each that rests, and compares each with all: with 64 threads that was a
quarter of what a worker did. Connections and the protocol stay httpcore's.
"""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import httpcore

_Where: TypeAlias = tuple[bytes, bytes, int]
_SCHEMES = (b"http", b"https")


class Pool(httpcore.ConnectionPool):
    """A pool for threads that each have one request out at a time. Safe for threads."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        most: int,
        keepalive_seconds: float,
        backend: httpcore.NetworkBackend,
    ) -> None:
        """Let `most` connections rest, each for `keepalive_seconds`."""
        super().__init__(
            ssl_context=tls, keepalive_expiry=keepalive_seconds, network_backend=backend
        )
        self._most = most
        self._lock = threading.Lock()
        #: those that rest, and whom each leads to; who rests longest comes first
        self._resting: dict[httpcore.ConnectionInterface, _Where] = {}
        #: the same by whom they lead to
        self._leading_to: dict[_Where, list[httpcore.ConnectionInterface]] = {}
        self._is_closed = False

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send over the connection that has rested shortest, or over a new one.

        Raises what the connection raises, and UnsupportedProtocol.
        """
        if request.url.scheme not in _SCHEMES:
            raise httpcore.UnsupportedProtocol("Only http:// and https:// are spoken.")
        origin = request.url.origin
        where = (origin.scheme, origin.host, origin.port)
        connection = self._idle_connection(where) or self.create_connection(origin)
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            response = connection.handle_request(request)
            undo.pop_all()
        return httpcore.Response(
            response.status,
            headers=response.headers,
            content=_Body(response, partial(self._rest, connection, where)),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close all that rest; what is out is closed when it comes back."""
        with self._lock:
            self._is_closed = True
            resting = list(self._resting)
            self._resting.clear()
            self._leading_to.clear()
        for one in resting:
            one.close()

    def _idle_connection(self, where: _Where) -> httpcore.ConnectionInterface | None:
        while True:
            with self._lock:
                if where not in self._leading_to:
                    return None
                connection = self._leading_to[where][-1]
                self._remove(connection)
            if not connection.has_expired():
                return connection
            connection.close()

    def _rest(self, connection: httpcore.ConnectionInterface, where: _Where) -> None:
        gone = [connection]
        with self._lock:
            if _may_rest(connection) and not self._is_closed:
                self._resting[connection] = where
                self._leading_to.setdefault(where, []).append(connection)
                gone = list(self._overdue())
        for one in gone:
            one.close()

    def _overdue(self) -> Iterator[httpcore.ConnectionInterface]:
        """Take out those that are too many, or have rested too long, or were left."""
        while self._resting:
            longest = next(iter(self._resting))
            if len(self._resting) <= self._most and not longest.has_expired():
                return
            self._remove(longest)
            yield longest

    def _remove(self, connection: httpcore.ConnectionInterface) -> None:
        where = self._resting.pop(connection)
        others = self._leading_to[where]
        others.remove(connection)
        if not others:
            del self._leading_to[where]


def _may_rest(connection: Any) -> bool:  # noqa: ANN401  see below
    """Tell whether an answer was read to its end, and nothing came behind it.

    h11 keeps what came behind it and would read it as the answer to the next request.
    """
    if not connection.is_idle():
        return False
    # httpcore has no word for it
    behind, _ = connection._connection._h11_state.trailing_data  # noqa: SLF001
    return not behind


class _Body:
    """The body of an answer, that says when it was read or given up."""

    def __init__(self, response: httpcore.Response, done: Callable[[], None]) -> None:
        self._response = response
        self._done: Callable[[], None] | None = done

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        done, self._done = self._done, None
        if done:
            self._response.close()
            done()
