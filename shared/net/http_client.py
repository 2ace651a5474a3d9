"""The HTTP client for outgoing calls, with total time limits and an SSRF guard.

httpx over the connections of `shared.net.http_pool`, on our own sockets: see `shared.net.sockets`
for the time limits, `shared.net.ssrf` for the guard.
"""

import contextlib
import socket
import ssl
import zlib
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version

import httpcore
import httpx

from shared.net.http_pool import PooledTransport
from shared.net.sockets import DIRECT, Egress, is_readable, open_socket
from shared.net.ssrf import AddressGuard, Resolver, resolve

USER_AGENT = f"darkroom/{version('darkroom-service')}"
#: Just below the 60 s after which common load balancers close an idle connection: a connection
#: closed right after a request was sent looks like a call with an unknown outcome.
KEEPALIVE_SECONDS = 55.0
#: A host that takes longer to accept a connection counts as unreachable.
CONNECT_SECONDS = 10.0
#: A request waits for its end before it is sent, unless it is as long as this.
COALESCED_BYTES = 16 * 1024
#: What zlib decompresses: its own format, and gzip's.
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


def build_client(
    *,
    concurrency: int,
    timeout_seconds: float,
    guard: AddressGuard | None = None,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    egress: Egress = DIRECT,
    answer_bytes: int | None = None,
    resolver: Resolver = resolve,
) -> httpx.Client:
    """Build a client over `build_transport`; each operation may take `timeout_seconds`.

    The caller sets the total time with `deadline(seconds)`. No redirects, no HTTP/2, no proxy from
    the environment, no cookies.
    """
    transport = build_transport(
        concurrency=concurrency,
        guard=guard,
        keepalive_seconds=keepalive_seconds,
        egress=egress,
        answer_bytes=answer_bytes,
        resolver=resolver,
    )
    return _PlainClient(transport, timeout_seconds=timeout_seconds)


def build_transport(
    *,
    concurrency: int,
    guard: AddressGuard | None = None,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    egress: Egress = DIRECT,
    answer_bytes: int | None = None,
    resolver: Resolver = resolve,
) -> PooledTransport:
    """Build the connections of `concurrency` threads.

    With a guard, a host that resolves to a private address raises AddressForbidden; without, the
    operator configured the host. `egress` has the proxy and the certificates, `resolver` replaces
    the system's resolver. Of a response, at most `answer_bytes` are read, including headers and
    framing; a longer one raises ReadError.
    """
    egress.context.set_alpn_protocols(["http/1.1"])
    return PooledTransport(
        partial(
            open_stream, egress=egress, guard=guard, answer_bytes=answer_bytes, resolver=resolver
        ),
        most=concurrency,
        keepalive_seconds=keepalive_seconds,
    )


def timeouts(seconds: float) -> httpx.Timeout:
    """Return the timeouts of each operation."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


class _PlainClient(httpx.Client):
    """A client that sends what is asked, and nothing else.

    It stores no cookies, because those of one host would be sent to others under the same name. It
    follows no redirect, and takes no credentials from a URL. A request goes to the transport at
    once: httpx's own way there takes a quarter of the CPU time of a small one.
    """

    def __init__(self, transport: httpx.BaseTransport, *, timeout_seconds: float) -> None:
        super().__init__(
            transport=transport,
            timeout=timeouts(timeout_seconds),
            headers={"User-Agent": USER_AGENT},
            trust_env=False,
        )
        self._only_transport = transport

    def send(self, request: httpx.Request, *, stream: bool = False, **_: object) -> httpx.Response:
        """Send a request that `build_request` has built."""
        response = self._only_transport.handle_request(request)
        response.request = request
        if not stream:
            with contextlib.closing(response):
                response.read()
        return response


def decompressed(data: bytes, *, most: int) -> bytes:
    """Return at most `most` bytes of what gzip or zlib compressed; other data as it is.

    For responses to requests that allow no compression: their label may be right or wrong.
    """
    try:
        return zlib.decompressobj(_ZLIB_OR_GZIP).decompress(data, most)
    except zlib.error:
        return data


def open_stream(
    origin: httpcore.Origin,
    timeout: float | None,
    *,
    egress: Egress = DIRECT,
    guard: AddressGuard | None = None,
    answer_bytes: int | None = None,
    resolver: Resolver = resolve,
) -> "BoundedStream":
    """Connect to an address that the guard allows; `timeout` in seconds limits each step.

    Raise AddressForbidden, ConnectTimeout, ConnectError.
    """
    host = origin.host.decode("ascii")
    with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
        opened: socket.socket = open_socket(
            host,
            origin.port,
            timeout=timeout,
            guard=guard,
            resolver=resolver,
            proxy=egress.proxy,
        )
        if origin.scheme == b"https":
            # the trailing dot of a full name is for the resolver; certificates do not have it
            opened = _with_tls(opened, egress.context, host.rstrip("."), timeout)
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
    """A connection for httpcore; each operation keeps the thread's deadline.

    After each request at most `answer_bytes` are read: nobody else limits endless headers (each
    interim response may have new ones) or the framing of chunks.
    """

    def __init__(self, opened: socket.socket, answer_bytes: int | None) -> None:
        self._socket = opened
        self._answer_bytes = answer_bytes
        self._left = answer_bytes
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes, none at the end; raise ReadTimeout, ReadError."""
        if self._unsent:
            # the peer may have responded before it read the whole request
            with contextlib.suppress(httpcore.WriteError):
                self._flush(timeout)
        if self._left is not None:
            max_bytes = min(max_bytes, self._left)
            if not max_bytes:
                raise httpcore.ReadError(
                    f"The response has more than {self._answer_bytes:,} bytes."
                )
        with _translated(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(timeout)
            received = self._socket.recv(max_bytes)
        if self._left is not None:
            self._left -= len(received)
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write `buffer`, a small one together with what follows; raise WriteTimeout, WriteError.

        httpcore writes the headers, the body, and, at the end of a body with a declared length,
        nothing. One system call and one packet for all of them are enough.
        """
        self._left = self._answer_bytes
        self._unsent += buffer
        if not buffer or len(self._unsent) >= COALESCED_BYTES:
            self._flush(timeout)

    def _flush(self, timeout: float | None) -> None:
        unsent, self._unsent = self._unsent, b""
        if not unsent:
            return
        with _translated(httpcore.WriteTimeout, httpcore.WriteError):
            self._socket.settimeout(timeout)
            self._socket.sendall(unsent)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def get_extra_info(self, info: str) -> object:
        """Return the only information httpcore asks for: whether the peer closed the connection."""
        return is_readable(self._socket) if info == "is_readable" else None


@contextlib.contextmanager
def _translated(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
