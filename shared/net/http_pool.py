"""Connections that rest between requests, found by whom they lead to: httpx's transport over them.

Connections and the protocol are httpcore's, which connection a request goes over is decided here.
httpcore's own pool goes through all of its connections whenever a request begins and again when it
ends, asks the system about each that rests, and compares each with all: with 64 threads that was a
quarter of what a worker did.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias, cast

import httpcore
import httpx

_Where: TypeAlias = tuple[bytes, bytes, int]
#: Connects to a host; the time is for each step, in seconds.
OpenStream: TypeAlias = Callable[[httpcore.Origin, float | None], httpcore.NetworkStream]

_SCHEMES = frozenset({"http", "https"})
#: All that a connection raises, and what it is called to the outside.
_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.WriteError: httpx.WriteError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}


class PooledTransport(httpx.BaseTransport):
    """For threads that each have one request out at a time. Safe for threads."""

    def __init__(self, open_stream: OpenStream, *, most: int, keepalive_seconds: float) -> None:
        """Connect by `open_stream`; let `most` connections rest, each for `keepalive_seconds`."""
        self._open_stream = open_stream
        self._most = most
        self._keepalive_seconds = keepalive_seconds
        self._lock = threading.Lock()
        #: those that rest, and whom each leads to; who rests longest comes first
        self._resting: dict[httpcore.HTTP11Connection, _Where] = {}
        #: the same by whom they lead to
        self._leading_to: dict[_Where, list[httpcore.HTTP11Connection]] = {}
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send over the connection that has rested shortest, or over a new one.

        Raises AddressForbidden and httpx's errors. Of these only ConnectTimeout, ConnectError,
        LocalProtocolError and UnsupportedProtocol mean that not a byte of the request was sent.
        """
        if request.url.scheme not in _SCHEMES:
            raise httpx.UnsupportedProtocol("Only http:// and https:// are spoken.")
        sent = _for_httpcore(request)
        origin = sent.url.origin
        where = (origin.scheme, origin.host, origin.port)
        with _translated(), contextlib.ExitStack() as undo:
            connection = self._idle_connection(where) or self._connect(
                origin, request.extensions.get("timeout", {}).get("connect")
            )
            undo.callback(connection.close)
            response = connection.handle_request(sent)
            undo.pop_all()
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response, partial(self._rest, connection, where)),
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

    def _connect(self, origin: httpcore.Origin, timeout: float | None) -> httpcore.HTTP11Connection:
        stream = self._open_stream(origin, timeout)
        return httpcore.HTTP11Connection(origin, stream, self._keepalive_seconds)

    def _idle_connection(self, where: _Where) -> httpcore.HTTP11Connection | None:
        while True:
            with self._lock:
                if where not in self._leading_to:
                    return None
                connection = self._leading_to[where][-1]
                self._remove(connection)
            if not connection.has_expired():
                return connection
            connection.close()

    def _rest(self, connection: httpcore.HTTP11Connection, where: _Where) -> None:
        gone = [connection]
        with self._lock:
            if _may_rest(connection) and not self._is_closed:
                self._resting[connection] = where
                self._leading_to.setdefault(where, []).append(connection)
                gone = list(self._overdue())
        for one in gone:
            one.close()

    def _overdue(self) -> Iterator[httpcore.HTTP11Connection]:
        """Take out those that are too many, or have rested too long, or were left."""
        while self._resting:
            longest = next(iter(self._resting))
            if len(self._resting) <= self._most and not longest.has_expired():
                return
            self._remove(longest)
            yield longest

    def _remove(self, connection: httpcore.HTTP11Connection) -> None:
        where = self._resting.pop(connection)
        others = self._leading_to[where]
        others.remove(connection)
        if not others:
            del self._leading_to[where]


def _for_httpcore(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        # the other kind of stream is that of an asynchronous client
        content=cast("httpx.SyncByteStream", request.stream),
        extensions=request.extensions,
    )


def _may_rest(connection: httpcore.HTTP11Connection) -> bool:
    """Tell whether an answer was read to its end, and nothing came behind it.

    h11 keeps what came behind it and would read it as the answer to the next request.
    """
    if not connection.is_idle():
        return False
    # httpcore has no word for it
    behind, _ = connection._h11_state.trailing_data  # noqa: SLF001
    return not behind


class _Body(httpx.SyncByteStream):
    """The body of an answer, that says when it was read or given up."""

    def __init__(self, response: httpcore.Response, done: Callable[[], None]) -> None:
        self._response = response
        self._done: Callable[[], None] | None = done

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._response.iter_stream()

    def close(self) -> None:
        done, self._done = self._done, None
        if done:
            self._response.close()
            done()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error
