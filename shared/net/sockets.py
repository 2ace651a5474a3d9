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
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import httpx

from shared.net.egress import EgressProxy, EgressProxyError
from shared.net.ssrf import AddressGuard, Endpoint, Resolver, is_address, resolve
from shared.net.timeouts import within
from shared.settings import Settings

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
def tls_context(ca_bundle: str = "") -> ssl.SSLContext:
    """Return the one context that verifies certificates and creates these sockets.

    It trusts the public authorities, or those of `SSL_CERT_FILE`, and those of the PEM file
    `ca_bundle`.
    """
    context = httpx.create_ssl_context()
    if ca_bundle:
        context.load_verify_locations(cafile=ca_bundle)
    return bounded(context)


def bounded(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context create these sockets."""
    context.sslsocket_class = BoundedTLSSocket
    return context


@dataclass(frozen=True, slots=True)
class Egress:
    """How connections leave: through which proxy, if any, and with which certificates trusted."""

    #: None: those of `tls_context`
    tls: ssl.SSLContext | None = None
    proxy: EgressProxy | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the proxy and the authorities of the settings."""
        url = settings.egress_proxy.get_secret_value()
        proxy = EgressProxy.at(
            url,
            direct_hosts=settings.egress_proxy_direct_hosts,
            is_trusted=settings.egress_proxy_trusted,
        )
        return cls(tls=tls_context(settings.ca_bundle), proxy=proxy if url else None)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for TLS."""
        return self.tls or tls_context()


#: Without a proxy, trusting the default authorities.
DIRECT = Egress()


def open_socket(
    host: str,
    port: int,
    *,
    timeout: float | None,
    guard: AddressGuard | None = None,
    resolver: Resolver = resolve,
    proxy: EgressProxy | None = None,
) -> BoundedSocket:
    """Resolve `host` once, check all its addresses, and connect to the first that responds.

    `timeout` in seconds limits each step; without a guard any address is allowed. With a proxy,
    connect through it, unless the host is one of its direct hosts. Raise AddressForbidden,
    EgressProxyError, TimeoutError, OSError.
    """
    if proxy is not None and proxy.leads_to(host, port):
        return _tunnel(proxy, _targets(proxy, host, port, timeout, guard, resolver), port, timeout)
    endpoints = resolver(host, port, timeout)
    if guard is not None:
        guard.judge(host, port, endpoints)
    return _first_connected(endpoints, timeout)


def _targets(
    proxy: EgressProxy,
    host: str,
    port: int,
    timeout: float | None,
    guard: AddressGuard | None,
    resolver: Resolver,
) -> list[str]:
    """Return what the proxy is asked to connect to: the name, or each address of it.

    It gets the name of a host that the operator chose, and any name if it is trusted.
    """
    if guard is None or guard.trusts(host, port):
        return [host]
    if proxy.is_trusted:
        guard.judge(host, port, resolver(host, port, timeout) if is_address(host) else ())
        return [host]
    endpoints = resolver(host, port, timeout)
    guard.judge(host, port, endpoints)
    return [endpoint.address for endpoint in endpoints]


def _tunnel(
    proxy: EgressProxy, targets: Collection[str], port: int, timeout: float | None
) -> BoundedSocket:
    failure = OSError("the host has no address")
    for target in targets:
        opened = _connected_to_proxy(proxy, timeout)
        with contextlib.ExitStack() as undo:
            undo.callback(opened.close)
            try:
                proxy.open_tunnel(opened, target, port)
            except EgressProxyError as error:
                failure = error
                continue
            except OSError as error:
                raise EgressProxyError(
                    f"The egress proxy {proxy.name} does not answer ({type(error).__name__})."
                ) from error
            undo.pop_all()
        return opened
    raise failure


def _connected_to_proxy(proxy: EgressProxy, timeout: float | None) -> BoundedSocket:
    try:
        return _first_connected(resolve(proxy.host, proxy.port, timeout), timeout)
    except OSError as error:
        raise EgressProxyError(
            f"The egress proxy {proxy.name} cannot be reached ({type(error).__name__})."
        ) from error


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
