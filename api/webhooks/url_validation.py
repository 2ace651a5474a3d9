"""Validate the URL and headers of a webhook when a job is created.

The address it resolves to is checked again at each delivery.
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
from shared.setting_values import CONNECTION_HEADERS, HEADER_NAME
from shared.settings import Settings

URL_CHARACTERS = 2048
HEADERS_NAME_CHARACTERS = 100
HEADERS_VALUE_CHARACTERS = 1000
_PORTS = {"http": 80, "https": 443}
_UNREADABLE = "is not a valid URL"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
#: Characters that no URL contains, and that `urlsplit` would drop silently.
_NEVER = re.compile(r"[\x00-\x20\x7f\\]")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
#: Resolvers treat a host whose last label is a number as an IPv4 address, in any notation.
_NUMERIC_END = re.compile(r"(^|\.)(0[xX][0-9a-fA-F]*|[0-9]+)\.?$")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
#: Headers set by the delivery itself, and those of the connection.
_OWN_HEADERS = CONNECTION_HEADERS | {"user-agent", "date"}
_OWN_PREFIXES = ("webhook-", "svix-", "content-")


def address_guard(settings: Settings | None) -> AddressGuard:
    """Return the guard that checks webhook addresses; without settings, a guard of any port."""
    if settings is None:
        return AddressGuard()
    return AddressGuard(settings.webhook_allow_hosts, settings.webhook_port_ranges)


def check_url(url: str, *, guard: AddressGuard) -> str:
    """Validate a URL as far as possible without resolving it; raise ValueError.

    Return the URL to call: a host that is not ASCII becomes its DNS form (xn--…).
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
    """Convert the host to its DNS form; raise ValueError if that is impossible."""
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
        raise ValueError(f"has an invalid host name: {error}") from None
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(host, written, 1)))


def _split(url: str) -> SplitResult:
    try:
        parts, read = urlsplit(url), httpx.URL(url)
        usual = _PORTS.get(parts.scheme)
        # the sender must parse it alike: [2606::1]443 is ambiguous, xn--a is invalid
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
        raise ValueError(f"has an address that is {reason}" if address else reason)


def _host_name_problem(host: str) -> str | None:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return "resolves to an address that is loopback"
    if not _HOST_NAME.fullmatch(host) or ".." in host or _NUMERIC_END.search(host):
        return "has an invalid host name"
    return None


def _address(host: str) -> str | None:
    """Return the IP address a host denotes, in any notation; None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _NUMERIC_END.search(host):
        return None
    try:  # 127.1, 0x7f000001 and the like, as resolvers read them
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def delivery_host(url: str) -> str:
    """Return the host that deliveries are queued by: the same for all spellings of an address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return _address(host) or host


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Validate headers to be sent; raise ValueError that names every fault."""
    faults = [_header_fault(name, value) for name, value in headers.items()]
    if len({name.lower() for name in headers}) < len(headers):
        faults.append("contains a header twice")
    if found := list(dict.fromkeys(filter(None, faults))):
        raise ValueError("; ".join(found))
    return dict(headers)


def _header_fault(name: str, value: str) -> str:
    """Return what is wrong with a header; '' for nothing."""
    if len(name) > HEADERS_NAME_CHARACTERS or not HEADER_NAME.fullmatch(name):
        # not shown: without its colon, a header with a secret is such a name
        return (
            f"has an invalid header name: a name has 1 to {HEADERS_NAME_CHARACTERS} letters, "
            "digits and characters such as - and _, and no spaces"
        )
    if name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES):
        return f"must not set {name}"
    if len(value) > HEADERS_VALUE_CHARACTERS or not _VALUE.fullmatch(value):
        return (
            f"has a value for {name} that is not 0 to {HEADERS_VALUE_CHARACTERS:,} visible ASCII "
            "characters"
        )
    return ""


def to_stored(webhook: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a webhook that differ from the defaults."""
    found = {"url": webhook["url"], "events": list(webhook["events"])}
    if webhook["headers"]:
        found["headers"] = dict(webhook["headers"])
    if webhook["payload"] != "full":
        found["payload"] = webhook["payload"]
    return found
