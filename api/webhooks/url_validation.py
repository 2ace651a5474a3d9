"""Where a webhook may go and what it may carry, as far as that is known when a job is accepted.

The address that is connected to is judged again at each delivery.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx
import idna

from shared.net.ssrf import AddressGuard, blocked_reason
from shared.settings import Settings

URL_CHARACTERS = 2048
HEADERS_NAME_CHARACTERS = 100
HEADERS_VALUE_CHARACTERS = 1000
_PORTS = {"http": 80, "https": 443}
_UNREADABLE = "is not a valid URL"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
#: What no address has, and what `urlsplit` would take out in silence.
_NEVER = re.compile(r"[\x00-\x20\x7f\\]")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
#: A host whose last label is a number is an IPv4 address to every resolver, however it is written.
_NUMERIC_END = re.compile(r"(^|\.)(0[xX][0-9a-fA-F]*|[0-9]+)\.?$")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
#: What the delivery itself sets, and what belongs to the connection.
_OWN_HEADERS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("host", "expect", "user-agent", "date"),
    }
)
_OWN_PREFIXES = ("webhook-", "svix-", "content-")


def address_guard(settings: Settings) -> AddressGuard:
    """Return what judges where a webhook may go."""
    return AddressGuard(settings.webhook_allow_hosts, settings.webhook_port_ranges)


def check_url(url: str, *, guard: AddressGuard) -> str:
    """Check what an address says of itself, as `guard` will again; raises ValueError.

    Returns it as it is called: a host that is not ASCII is written as DNS has it (xn--…).
    """
    if len(url) > URL_CHARACTERS:
        raise ValueError(f"has more than {URL_CHARACTERS:,} characters")
    if not _NEVER.search(url):
        url = _with_ascii_host(url)
    if not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ValueError("must be written in visible ASCII characters, others %-encoded")
    parts = _split(url)
    if parts.scheme not in _PORTS:
        raise ValueError("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password")
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    if not guard.trusts(host, port):
        _check_host(host)
        if not guard.opens(port):
            raise ValueError(f"names port {port}, which DARKROOM_WEBHOOK_PORTS does not allow")
    return url


def _with_ascii_host(url: str) -> str:
    """Write a host of other characters as DNS has it; raises ValueError for one that it cannot."""
    if url.isascii():
        return url
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2].partition(":")[0]
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    if host.isascii():
        return url
    try:
        written = idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"has a host that no domain can have: {error}") from None
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(host, written, 1)))


def _split(url: str) -> SplitResult:
    try:
        parts, read = urlsplit(url), httpx.URL(url)
        usual = _PORTS.get(parts.scheme)
        # what sends to it later must read the same: [2606::1]443 is read in two ways, xn--a in none
        is_plain = (
            read.host is not None
            and parts.port != 0
            and (parts.hostname or "") == read.raw_host.decode().lower()
            and (parts.port or usual) == (read.port or usual)
        )
    except (ValueError, httpx.InvalidURL):
        is_plain = False
    if not is_plain:
        raise ValueError(_UNREADABLE)
    return parts


def _check_host(host: str) -> None:
    if not host:
        raise ValueError("must contain a host name")
    if "%" in host:
        raise ValueError("must not contain % in its host")
    address = _address(host)
    reason = blocked_reason(address) if address else _host_name_problem(host)
    if reason:
        raise ValueError(f"leads to an address that is {reason}" if address else reason)


def _host_name_problem(host: str) -> str | None:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return "leads to an address that is loopback"
    if not _HOST_NAME.fullmatch(host) or ".." in host or _NUMERIC_END.search(host):
        return "has a host that cannot exist"
    return None


def _address(host: str) -> str | None:
    """Give the IP address that a host is, in whatever notation; None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _NUMERIC_END.search(host):
        return None
    try:  # 127.1, 0x7f000001 and the like, as a resolver reads them
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def delivery_host(url: str) -> str:
    """Give the host by which deliveries queue: one for all spellings of an address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return _address(host) or host


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check headers that are to be sent along; raises ValueError."""
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("contains a header twice")
    for name, value in headers.items():
        _check_header(name, value)
    return dict(headers)


def _check_header(name: str, value: str) -> None:
    if len(name) > HEADERS_NAME_CHARACTERS or not _TOKEN.fullmatch(name):
        raise ValueError("has a name that no header can have")
    if name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES):
        raise ValueError(f"must not set {name}")
    if len(value) > HEADERS_VALUE_CHARACTERS or not _VALUE.fullmatch(value):
        raise ValueError(
            f"has a value for {name} that is not 0 to {HEADERS_VALUE_CHARACTERS:,} visible ASCII "
            "characters"
        )


def to_stored(webhook: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a webhook what differs from the usual."""
    found = {"url": webhook["url"], "events": list(webhook["events"])}
    if webhook["headers"]:
        found["headers"] = dict(webhook["headers"])
    if webhook["payload"] != "full":
        found["payload"] = webhook["payload"]
    return found
