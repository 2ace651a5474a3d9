"""Sockets that keep the thread's deadline: the one place where the network is waited for.

Each operation is bounded by the smaller of the socket's own timeout and what is left of
`shared.net.timeouts`. Python bounds one C call as a whole (a handshake, a TLS record that drips in,
a `sendall`), so bounding every call bounds the sum.
"""

import contextlib
import math
import select
import socket
import ssl
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import httpx

from shared.net.ssrf import AddressGuard, Endpoint, Resolver, resolve
from shared.net.timeouts import within

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


#: So much later than a deadline that is more than a second away may an operation end.
STEP_SECONDS = 1 / 16


class _Bounded(socket.socket):
    """What both kinds of socket share; `settimeout` says the longest that one operation may take.

    Raises TimeoutError where the deadline or the own timeout ends.
    """

    _own_timeout: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        """Set the own timeout of each operation, in seconds; None is no limit."""
        # not told to the system here: each operation tells it what it may take
        self._own_timeout = value

    def gettimeout(self) -> float | None:
        """Give the own timeout."""
        return self._own_timeout

    def _bound(self) -> None:
        # the system is told only what is new to it: that costs as much as the operation itself
        wanted = _stepped(within(self._own_timeout))
        if wanted != super().gettimeout():
            super().settimeout(wanted)

    def connect(self, address: Any, /) -> None:  # noqa: ANN401  as the standard library has it
        """Connect, bounded."""
        self._bound()
        super().connect(address)

    def recv(self, *args: int) -> bytes:
        """Receive, bounded."""
        self._bound()
        return super().recv(*args)

    def recv_into(
        self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0
    ) -> int:
        """Receive into a buffer, bounded."""
        self._bound()
        # 0 is "as much as fits" to both kinds
        return super().recv_into(buffer, nbytes or 0, flags)

    def send(self, data: "ReadableBuffer", *args: int) -> int:
        """Send some, bounded."""
        self._bound()
        return super().send(data, *args)

    def sendall(self, data: "ReadableBuffer", *args: int) -> None:
        """Send all, bounded."""
        self._bound()
        super().sendall(data, *args)


def _stepped(seconds: float | None) -> float | None:
    """Round up to full steps, where one is less than a sixteenth of it."""
    if seconds is None or seconds < 1:
        return seconds
    return math.ceil(seconds / STEP_SECONDS) * STEP_SECONDS


class BoundedSocket(_Bounded):
    """A plain socket whose every operation keeps the deadline."""


class BoundedTLSSocket(_Bounded, ssl.SSLSocket):
    """The same under TLS; `tls_context` makes `wrap_socket` give these."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  the library's way
        """Agree on keys, bounded."""
        self._bound()
        super().do_handshake(block)


def tls_context() -> ssl.SSLContext:
    """Give a context that checks certificates and makes bounded sockets.

    Trusted are the public authorities, or those of `SSL_CERT_FILE` where an operator sets it.
    """
    return bounded(httpx.create_ssl_context())


def bounded(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context make bounded sockets."""
    context.sslsocket_class = BoundedTLSSocket
    return context


def open_socket(
    host: str,
    port: int,
    *,
    timeout: float | None,
    guard: AddressGuard | None = None,
    resolver: Resolver = resolve,
) -> BoundedSocket:
    """Look `host` up once, judge all its addresses, connect to the first that answers.

    `timeout` in seconds bounds each step; without a guard any address will do. Raises
    AddressForbidden, TimeoutError, OSError.
    """
    endpoints = resolver(host, port, timeout)
    if guard is not None:
        guard.judge(host, port, endpoints)
    return _first_connected(endpoints, timeout)


def _first_connected(endpoints: Collection[Endpoint], timeout: float | None) -> BoundedSocket:
    failure = OSError("the host has no address")
    for endpoint in endpoints:
        try:
            return _connected(endpoint, timeout)
        except OSError as error:
            failure = error
    raise failure


def _connected(endpoint: Endpoint, timeout: float | None) -> BoundedSocket:
    opened = BoundedSocket(endpoint.family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(opened.close)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.settimeout(timeout)
        opened.connect(endpoint.sockaddr)
        undo.pop_all()
    return opened


def is_readable(opened: socket.socket) -> bool:
    """Tell whether a read would return at once: an idle connection is of no use then."""
    if opened.fileno() < 0:
        return True
    # the rest of a TLS record is not the system's to tell of
    if isinstance(opened, ssl.SSLSocket) and opened.pending():
        return True
    # poll, because select cannot watch descriptors above 1023
    poll = select.poll()
    poll.register(opened.fileno(), select.POLLIN)
    return bool(poll.poll(0))
