"""The HTTP client for calls to the outside: bounded in total, and not to be sent inside.

httpx on httpcore, whose network backend is ours: see `shared.net.sockets` for the time,
`shared.net.ssrf` for the guard.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator
from http.cookiejar import CookieJar
from importlib.metadata import version
from typing import Any

import httpcore
import httpx

from shared.net.http_pool import Pool
from shared.net.sockets import is_readable, open_socket, tls_context
from shared.net.ssrf import AddressGuard, Resolver, resolve

USER_AGENT = f"darkroom/{version('darkroom-service')}"
#: Just below the minute after which common load balancers close an idle connection: one that is
#: closed under a request that was just sent looks like a call of unknown outcome.
KEEPALIVE_SECONDS = 55.0
#: A host that takes longer than this to take a connection is as good as away.
CONNECT_SECONDS = 10.0


def build_client(
    *,
    concurrency: int,
    timeout_seconds: float,
    guard: AddressGuard | None = None,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    tls: ssl.SSLContext | None = None,
    answer_bytes: int | None = None,
    resolver: Resolver = resolve,
) -> httpx.Client:
    """Build a client for `concurrency` threads; each operation may take `timeout_seconds`.

    The total is the caller's, by `with deadline(seconds)`. With a guard, a host that leads inside
    raises AddressForbidden out of the request; without, the operator has named the host. `tls`
    replaces the usual certificates, `look_up` the system's resolver. Of an answer at most
    `answer_bytes` are read, headers and framing included; what is longer raises ReadError. No
    redirects, no HTTP/2, no proxy from the environment, no cookies.
    """
    pool = Pool(
        tls=tls or tls_context(),
        most=concurrency,
        keepalive_seconds=keepalive_seconds,
        backend=BoundedBackend(guard, answer_bytes, resolver),
    )
    return httpx.Client(
        transport=PooledTransport(pool),
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, CONNECT_SECONDS)),
        headers={"User-Agent": USER_AGENT},
        trust_env=False,
        follow_redirects=False,
        cookies=_NoCookies(),
    )


class _NoCookies(CookieJar):
    """Keeps none: what one host sets would be told to others under the same name."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Take nothing from an answer."""

    def add_cookie_header(self, request: object) -> None:
        """Add nothing to a request."""


class PooledTransport(httpx.HTTPTransport):
    """httpx's transport over a pool of ours."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(trust_env=False, verify=False)  # what it would check by is the pool's
        # httpx has no argument for the pool: its own, still unused, is replaced
        self._pool = pool


class BoundedBackend(httpcore.NetworkBackend):
    """Opens connections that keep the thread's deadline, to addresses that the guard lets pass."""

    def __init__(
        self, guard: AddressGuard | None, answer_bytes: int | None, resolver: Resolver
    ) -> None:
        self._guard = guard
        self._answer_bytes = answer_bytes
        self._resolver = resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  never asked for by our pool
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002  the same
    ) -> httpcore.NetworkStream:
        """Connect; `timeout` in seconds. Raises AddressForbidden, ConnectTimeout, ConnectError."""
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            opened = open_socket(
                host, port, timeout=timeout, guard=self._guard, resolver=self._resolver
            )
            return BoundedStream(opened, self._answer_bytes)


class BoundedStream(httpcore.NetworkStream):
    """One connection, for httpcore; each operation keeps the thread's deadline.

    After each request at most `answer_bytes` are read: neither headers that go on and on (each
    interim answer may have new ones) nor the framing of chunks are counted by anyone else.
    """

    def __init__(self, opened: socket.socket, answer_bytes: int | None) -> None:
        self._socket = opened
        self._answer_bytes = answer_bytes
        self._left = answer_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes, none at the end; raises ReadTimeout, ReadError."""
        if self._left is not None:
            max_bytes = min(max_bytes, self._left)
            if not max_bytes:
                raise httpcore.ReadError("The answer is longer than what is read of one.")
        with _translated(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(timeout)
            received = self._socket.recv(max_bytes)
        if self._left is not None:
            self._left -= len(received)
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`; raises WriteTimeout, WriteError."""
        self._left = self._answer_bytes
        if not buffer:  # the end of a body whose length was told
            return
        with _translated(httpcore.WriteTimeout, httpcore.WriteError):
            self._socket.settimeout(timeout)
            self._socket.sendall(buffer)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Go on under TLS; raises ConnectTimeout, ConnectError."""
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError), self._closed_on_failure():
            self._socket.settimeout(timeout)
            # the last dot of a full name is for the resolver: no certificate has it
            named = server_hostname and server_hostname.rstrip(".")
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=named)
        return BoundedStream(wrapped, self._answer_bytes)

    def get_extra_info(self, info: str) -> object:
        """Tell what httpcore asks about: whether TLS is spoken, whether the peer is gone."""
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        if info == "is_readable":
            return is_readable(self._socket)
        return None

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            yield
            undo.pop_all()


@contextlib.contextmanager
def _translated(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
