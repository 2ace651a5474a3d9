"""Send one webhook: signed, limited in time and bytes, and never to a private address."""

import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self, cast

import httpx

from shared.errors import AddressForbidden
from shared.net.egress import proxy_failure
from shared.net.egress_check import EgressCheck
from shared.net.http_client import USER_AGENT, build_transport, timeouts
from shared.net.sockets import Egress
from shared.net.ssrf import AddressGuard, Resolver, resolve
from shared.net.timeouts import deadline
from shared.printable import printable
from shared.settings import Settings

#: How much of a response is read, and how much of it is kept, in bytes.
READ_BYTES = 64 * 1024
EXCERPT_BYTES = 1024


class SendError(StrEnum):
    """Why an attempt got no 2xx."""

    #: another status
    STATUS = "status"
    #: 410: the receiver accepts no more webhooks
    GONE = "gone"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    #: the egress proxy cannot reach the receiver, or may not
    EGRESS_PROXY = "egress_proxy"
    #: the egress proxy itself fails
    EGRESS_PROXY_DOWN = "egress_proxy_down"
    ADDRESS_FORBIDDEN = "address_forbidden"
    ADDRESS_INVALID = "address_invalid"
    #: the connection ended, or the response was not HTTP
    BROKEN = "broken"
    #: a defect of ours
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one attempt. `status` is None without a response; `error` then says why.

    `headers` are those that were sent, including the client's own, if a request was sent.
    """

    status: int | None
    seconds: float
    answer: str = ""
    code: SendError | None = None
    error: str = ""
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver accepted it: any 2xx."""
        return self.code is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver accepts no more webhooks: 410."""
        return self.code is SendError.GONE


class _Answer(NamedTuple):
    status: int
    start: bytes
    retry_after: str | None


#: The number of idle connections, or that of threads if larger: there are more hosts than threads,
#: and a new connection costs as much as sending.
MAX_IDLE_CONNECTIONS = 256
#: What a request raises whose connection fails after it was opened.
_BROKEN_TUNNEL = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
#: In lower case, as those that `post` gets: a tenant's own replace them.
_HEADERS = {"accept": "*/*", "user-agent": USER_AGENT}


class WebhookClient:
    """Posts webhooks over pooled connections. Thread-safe.

    Requests go to the transport directly: all that an `httpx.Client` adds (redirects, cookies,
    authentication) is off, and took a third of the CPU time of a POST.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        egress_check: EgressCheck,
        *,
        timeout_seconds: float,
    ) -> None:
        """Use `transport`, which has the address guard.

        An attempt takes at most `timeout_seconds`. `egress_check` distinguishes a failing egress
        proxy from a failing receiver.
        """
        self._transport = transport
        self._egress_check = egress_check
        self._timeout = timeout_seconds
        self._extensions = {"timeout": timeouts(timeout_seconds).as_dict()}

    @classmethod
    def from_settings(cls, settings: Settings, resolver: Resolver = resolve) -> Self:
        """Build the client of the settings; `resolver` resolves hosts."""
        transport = build_transport(
            concurrency=max(settings.concurrency, MAX_IDLE_CONNECTIONS),
            guard=AddressGuard(settings.webhook_allow_hosts, settings.webhook_port_ranges),
            egress=Egress.from_settings(settings),
            answer_bytes=READ_BYTES,
            resolver=resolver,
        )
        return cls(
            transport,
            EgressCheck.from_settings(settings),
            timeout_seconds=settings.webhook_timeout_seconds,
        )

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> DeliveryResult:
        """Send, and return the result; nothing is raised for what a receiver does."""
        began = time.monotonic()
        request: httpx.Request | None = None
        try:
            request = httpx.Request(
                "POST",
                url,
                content=body,
                headers={**_HEADERS, **headers},
                extensions=self._extensions,
            )
            with deadline(self._timeout):
                response = self._exchange(request)
        except (AddressForbidden, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            code, sentence = self._send_error(error, request)
            # with the check of the proxy, which takes the thread's time as well
            seconds = time.monotonic() - began
            headers = request.headers if request else {}
            return DeliveryResult(None, seconds, code=code, error=sentence, headers=headers)
        seconds = time.monotonic() - began
        return DeliveryResult(
            response.status,
            seconds,
            answer=printable(response.start[:EXCERPT_BYTES].decode("utf-8", "replace"), lines=True),
            code=_judged(response.status),
            retry_after=response.retry_after,
            headers=request.headers,
        )

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _send_error(self, error: Exception, request: httpx.Request | None) -> tuple[SendError, str]:
        if failure := proxy_failure(error):
            is_down = not failure.is_refusal and bool(self._egress_check.failure())
            code = SendError.EGRESS_PROXY_DOWN if is_down else SendError.EGRESS_PROXY
            return code, str(failure)
        if request is not None and isinstance(error, _BROKEN_TUNNEL):
            # if the proxy goes away, its open tunnels are silent or end, as if the endpoint failed
            is_tunnel = self._egress_check.leads_to(str(request.url))
            if is_tunnel and (cause := self._egress_check.failure()):
                return SendError.EGRESS_PROXY_DOWN, cause
        return _send_error(error)

    def _exchange(self, request: httpx.Request) -> _Answer:
        response = self._transport.handle_request(request)
        try:
            return _Answer(
                response.status_code, _start_of(response), response.headers.get("retry-after")
            )
        finally:
            response.close()


def _start_of(response: httpx.Response) -> bytes:
    body_start = bytearray()
    # the status is the receiver's answer; the body is only for the delivery log
    with contextlib.suppress(httpx.HTTPError):
        for piece in cast("httpx.SyncByteStream", response.stream):
            body_start += piece
    return bytes(body_start)


def _judged(status: int) -> SendError | None:
    if status // 100 == 2:  # noqa: PLR2004  the statuses of success
        return None
    return SendError.GONE if status == httpx.codes.GONE else SendError.STATUS


def _send_error(error: Exception) -> tuple[SendError, str]:
    if isinstance(error, AddressForbidden):
        return SendError.ADDRESS_FORBIDDEN, str(error)
    if isinstance(error, httpx.TimeoutException):
        return SendError.TIMEOUT, "The endpoint did not respond in time."
    if isinstance(error, httpx.ConnectError):
        return SendError.UNREACHABLE, _not_connected(error)
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        # UnicodeError is idna's error for an impossible host name
        return SendError.ADDRESS_INVALID, "The URL of the endpoint is invalid."
    if isinstance(error, httpx.RemoteProtocolError):
        return SendError.BROKEN, "The endpoint closed the connection, or its response is not HTTP."
    return SendError.BROKEN, f"The connection failed: {type(error).__name__}."


def _not_connected(error: BaseException) -> str:
    """Return why there is no connection; what the endpoint itself has written is not quoted."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, socket.gaierror):
        return "The host name of the endpoint could not be resolved."
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"The TLS certificate of the endpoint was not accepted: {cause.verify_message}."
    if isinstance(cause, ssl.SSLError):
        reason = (cause.reason or "unknown reason").lower().replace("_", " ")
        return f"The TLS handshake with the endpoint failed: {reason}."
    return "The endpoint could not be reached."
