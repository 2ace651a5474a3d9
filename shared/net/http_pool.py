"""A connection pool as an httpx transport, with idle connections indexed by their host.

Connections and protocol are httpcore's; this module decides which connection a request uses.
httpcore's own pool scans all of its connections at the beginning and the end of each request, polls
each idle one, and compares each with all: with 64 threads that was a quarter of a worker's CPU
time.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias, cast

import httpcore
import httpx

_Where: TypeAlias = tuple[bytes, bytes, int]
#: Connects to a host; the time limits each step, in seconds.
OpenStream: TypeAlias = Callable[[httpcore.Origin, float | None], httpcore.NetworkStream]

#: How often idle connections that have ended are searched, in seconds.
SEARCH_SECONDS = 1.0
_SCHEMES = frozenset({"http", "https"})
#: Everything a connection raises, and the httpx error for it.
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


class _Connection(httpcore.HTTP11Connection):
    """A connection that reads an image in a few large pieces: each costs two system calls."""

    READ_NUM_BYTES = 256 * 1024


class PooledTransport(httpx.BaseTransport):
    """A pool for threads that each send one request at a time. Thread-safe."""

    def __init__(self, open_stream: OpenStream, *, most: int, keepalive_seconds: float) -> None:
        """Connect by `open_stream`; keep `most` idle connections, each for `keepalive_seconds`."""
        self._open_stream = open_stream
        self._most = most
        self._keepalive_seconds = keepalive_seconds
        self._lock = threading.Lock()
        #: the idle connections with their hosts, longest idle first
        self._resting: dict[httpcore.HTTP11Connection, _Where] = {}
        #: the same, indexed by host
        self._leading_to: dict[_Where, list[httpcore.HTTP11Connection]] = {}
        self._is_closed = False
        self._overdue_at = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send over the most recently used idle connection, or over a new one.

        Raise AddressForbidden and httpx's errors. Of these only ConnectTimeout, ConnectError,
        LocalProtocolError and UnsupportedProtocol mean that no byte of the request was sent.
        """
        if request.url.scheme not in _SCHEMES:
            raise httpx.UnsupportedProtocol("Only http:// and https:// URLs are supported.")
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
        """Close all idle connections; those in use close when they return."""
        with self._lock:
            self._is_closed = True
            resting = list(self._resting)
            self._resting.clear()
            self._leading_to.clear()
        for one in resting:
            one.close()

    def _connect(self, origin: httpcore.Origin, timeout: float | None) -> httpcore.HTTP11Connection:
        stream = self._open_stream(origin, timeout)
        return _Connection(origin, stream, self._keepalive_seconds)

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
        """Remove the connections that are too many, idle for too long, or closed by their peer.

        The latter two are searched once a second, because asking a socket costs a system call.
        """
        now = time.monotonic()
        is_search = now >= self._overdue_at
        if is_search:
            self._overdue_at = now + SEARCH_SECONDS
        while self._resting:
            longest = next(iter(self._resting))
            if len(self._resting) <= self._most and not (is_search and longest.has_expired()):
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
        # the other kind of stream is that of an async client
        content=cast("httpx.SyncByteStream", request.stream),
        extensions=request.extensions,
    )


def _may_rest(connection: httpcore.HTTP11Connection) -> bool:
    """Return whether a response was read to its end, with nothing after it.

    h11 would keep what followed and read it as the response to the next request.
    """
    if not connection.is_idle():
        return False
    # httpcore has no public way
    behind, _ = connection._h11_state.trailing_data  # noqa: SLF001
    return not behind


class _Body(httpx.SyncByteStream):
    """The body of a response, which reports when it was read or abandoned."""

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
