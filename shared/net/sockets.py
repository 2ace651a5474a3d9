"""Sockets that keep the thread's deadline: the only place that waits for the network.

Each operation is limited by the smaller of the socket's own timeout and the rest of
`shared.net.timeouts`. Python limits one C call as a whole (a handshake, a slow TLS record, a
`sendall`), so limiting every call limits the sum.
"""

import contextlib
import math
import select
import socket
import ssl
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from shared.net.ssrf import AddressGuard, Endpoint, Resolver, resolve
from shared.net.timeouts import within

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


#: An operation may end this much after a deadline that is more than a second away.
STEP_SECONDS = 1 / 16


class _Bounded(socket.socket):
    """Common part of both kinds of socket; `settimeout` sets the limit of each operation.

    Raise TimeoutError when the deadline or the socket's own timeout ends.
    """

    _own_timeout: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        """Set the timeout of each operation, in seconds; None means no limit."""
        # not passed to the system here: each operation sets what it may take
        self._own_timeout = value

    def gettimeout(self) -> float | None:
        """Return the socket's own timeout."""
        return self._own_timeout

    def _bound(self) -> None:
        # set only when it changes, because that costs as much as the operation itself
        wanted = _stepped(within(self._own_timeout))
        if wanted != super().gettimeout():
            super().settimeout(wanted)

    def connect(self, address: Any, /) -> None:  # noqa: ANN401  as the standard library has it
        """Connect within the limit."""
        self._bound()
        super().connect(address)

    def recv(self, *args: int) -> bytes:
        """Receive within the limit."""
        self._bound()
        return super().recv(*args)

    def recv_into(
        self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0
    ) -> int:
        """Receive into a buffer within the limit."""
        self._bound()
        # 0 means "as much as fits" to both kinds
        return super().recv_into(buffer, nbytes or 0, flags)

    def send(self, data: "ReadableBuffer", *args: int) -> int:
        """Send some bytes within the limit."""
        self._bound()
        return super().send(data, *args)

    def sendall(self, data: "ReadableBuffer", *args: int) -> None:
        """Send everything within the limit."""
        self._bound()
        super().sendall(data, *args)


def _stepped(seconds: float | None) -> float | None:
    """Round up to full steps, if one is less than a sixteenth of the value."""
    if seconds is None or seconds < 1:
        return seconds
    return math.ceil(seconds / STEP_SECONDS) * STEP_SECONDS


class BoundedSocket(_Bounded):
    """A plain socket whose operations keep the deadline."""


class BoundedTLSSocket(_Bounded, ssl.SSLSocket):
    """The same under TLS; `tls_context` makes `wrap_socket` return these."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  the library's way
        """Negotiate keys within the limit."""
        self._bound()
        super().do_handshake(block)


@cache
def tls_context() -> ssl.SSLContext:
    """Return the one context that verifies certificates and creates these sockets.

    It trusts the public authorities, or those of `SSL_CERT_FILE`.
    """
    return bounded(httpx.create_ssl_context())


def bounded(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context create these sockets."""
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
    """Resolve `host` once, check all its addresses, and connect to the first that responds.

    `timeout` in seconds limits each step; without a guard any address is allowed. Raise
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
    """Return whether a read would return at once, which makes an idle connection unusable."""
    if opened.fileno() < 0:
        return True
    # the system does not know about data left of a TLS record
    if isinstance(opened, ssl.SSLSocket) and opened.pending():
        return True
    # poll, because select cannot watch descriptors above 1023
    poll = select.poll()
    poll.register(opened.fileno(), select.POLLIN)
    return bool(poll.poll(0))
