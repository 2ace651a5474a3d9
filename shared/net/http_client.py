"""The HTTP client for calls to the outside: bounded in total, and not to be sent inside.

httpx over the connections of `shared.net.http_pool`, on sockets of ours: see `shared.net.sockets`
for the time, `shared.net.ssrf` for the guard.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from http.cookiejar import CookieJar
from importlib.metadata import version

import httpcore
import httpx

from shared.net.http_pool import PooledTransport
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
    replaces the usual certificates, `resolver` the system's. Of an answer at most
    `answer_bytes` are read, headers and framing included; what is longer raises ReadError. No
    redirects, no HTTP/2, no proxy from the environment, no cookies.
    """
    context = tls or tls_context()
    context.set_alpn_protocols(["http/1.1"])
    transport = PooledTransport(
        partial(
            open_stream, tls=context, guard=guard, answer_bytes=answer_bytes, resolver=resolver
        ),
        most=concurrency,
        keepalive_seconds=keepalive_seconds,
    )
    return httpx.Client(
        transport=transport,
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


def open_stream(
    origin: httpcore.Origin,
    timeout: float | None,
    *,
    tls: ssl.SSLContext,
    guard: AddressGuard | None = None,
    answer_bytes: int | None = None,
    resolver: Resolver = resolve,
) -> "BoundedStream":
    """Connect to an address that the guard lets pass; `timeout` in seconds bounds each step.

    Raises AddressForbidden, ConnectTimeout, ConnectError.
    """
    host = origin.host.decode("ascii")
    with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
        opened: socket.socket = open_socket(
            host, origin.port, timeout=timeout, guard=guard, resolver=resolver
        )
        if origin.scheme == b"https":
            # the last dot of a full name is for the resolver: no certificate has it
            opened = _with_tls(opened, tls, host.rstrip("."), timeout)
    return BoundedStream(opened, answer_bytes)


def _with_tls(
    opened: socket.socket, tls: ssl.SSLContext, name: str, timeout: float | None
) -> ssl.SSLSocket:
    with contextlib.ExitStack() as undo:
        undo.callback(opened.close)
        opened.settimeout(timeout)
        wrapped = tls.wrap_socket(opened, server_hostname=name)
        undo.pop_all()
    return wrapped


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

    def get_extra_info(self, info: str) -> object:
        """Tell the one thing that httpcore asks about: whether the peer is gone."""
        return is_readable(self._socket) if info == "is_readable" else None


@contextlib.contextmanager
def _translated(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
