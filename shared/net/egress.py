"""The forward proxy through which connections leave, where a network has no other way out.

Every connection is a tunnel (CONNECT, RFC 9110, 9.3.6), also for http:// URLs, so that the proxy
sees hosts and never a key, a signature or an image.
"""

import base64
import socket
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

import h11

from shared.net.ssrf import host_matches
from shared.setting_values import joined

_RECEIVE_BYTES = 4096
#: 407 as RFC 9110 has it; tinyproxy answers wrong credentials with 401.
_NOT_AUTHENTICATED = frozenset({401, 407})


class EgressProxyError(OSError):
    """The egress proxy cannot be reached, or refuses a connection. The text names hosts only.

    `status` is what it answered, None if it did not or does not accept its user and password.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """Take what the proxy did, and the status of its response."""
        super().__init__(message)
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """Whether the proxy works, and its rules forbid the connection."""
        return self.status is not None and self.status // 100 == 4  # noqa: PLR2004  client errors


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """A proxy at `host`:`port`; `direct_hosts` are reached without it.

    `is_trusted` if it resolves the names that outsiders choose, and refuses private addresses
    itself. Otherwise such names are resolved and checked here, and it is given the address.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    direct_hosts: tuple[str, ...] = ()
    is_trusted: bool = False

    @classmethod
    def at(cls, url: str, *, direct_hosts: tuple[str, ...] = (), is_trusted: bool = False) -> Self:
        """Return the proxy at a URL that `shared.setting_values.proxy_address` has validated."""
        parts = urlsplit(url)
        written = ":".join(unquote(part or "") for part in (parts.username, parts.password))
        encoded = base64.b64encode(written.encode()).decode() if parts.username else ""
        return cls(
            host=parts.hostname or "",
            port=parts.port or 0,
            authorization=f"Basic {encoded}" if encoded else "",
            direct_hosts=direct_hosts,
            is_trusted=is_trusted,
        )

    @property
    def name(self) -> str:
        """The host and port, as they are written in messages."""
        return joined(self.host, self.port)

    def leads_to(self, host: str, port: int) -> bool:
        """Return whether connections to this host go through the proxy."""
        return not host_matches(self.direct_hosts, host, port)

    def open_tunnel(self, opened: socket.socket, host: str, port: int) -> None:
        """Ask the proxy, at the other end of `opened`, to connect to a host (a name or an address).

        Raise EgressProxyError if it refuses, TimeoutError, OSError.
        """
        target = joined(host.strip("[]"), port)
        headers = [("Host", target)]
        if self.authorization:
            headers.append(("Proxy-Authorization", self.authorization))
        exchange = h11.Connection(our_role=h11.CLIENT)
        opened.sendall(
            exchange.send(h11.Request(method="CONNECT", target=target, headers=headers))
            + exchange.send(h11.EndOfMessage())
        )
        try:
            status = self._status(exchange, opened)
        except h11.RemoteProtocolError as error:
            raise EgressProxyError(f"The egress proxy {self.name} does not speak HTTP.") from error
        if status in _NOT_AUTHENTICATED:
            raise EgressProxyError(
                f"The egress proxy {self.name} does not accept the user and password of "
                f"DARKROOM_EGRESS_PROXY (status {status})."
            )
        if status // 100 != 2:  # noqa: PLR2004  the statuses of success
            raise EgressProxyError(
                f"The egress proxy {self.name} refuses to connect to {target} (status {status}).",
                status=status,
            )
        # TLS and HTTP servers wait for the client to speak first
        if exchange.trailing_data[0]:
            raise EgressProxyError(f"The egress proxy {self.name} sends bytes of its own.")

    @staticmethod
    def _status(exchange: h11.Connection, opened: socket.socket) -> int:
        while True:
            event = exchange.next_event()
            if event is h11.NEED_DATA:
                exchange.receive_data(opened.recv(_RECEIVE_BYTES))
            elif isinstance(event, h11.Response):
                return event.status_code


def proxy_failure(error: BaseException) -> EgressProxyError | None:
    """Return what the egress proxy did if that is why a request failed.

    The host may be the cause: see `shared.net.egress_check`.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, EgressProxyError):
        cause = cause.__cause__ or cause.__context__
    return cause


def failure_name(error: BaseException) -> str:
    """Return why a request failed, for messages: the failure of the proxy, else the class.

    Never the text of another error, which may contain a URL or a header.
    """
    return str(proxy_failure(error) or type(error).__name__).removesuffix(".")
