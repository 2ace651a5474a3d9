"""Which addresses may be connected to: hosts named by outsiders must not lead to private networks.

The address actually connected to is checked, never only the name, because a name can resolve
differently the next time. Ranges: the IANA special-purpose registries, as `ipaddress` knows them,
and those the running Python may not know yet.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.errors import AddressForbidden
from shared.net.timeouts import within

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

#: Not public whatever `is_global` of this Python says, with the reason.
BLOCKED_RANGES = tuple(
    (ipaddress.ip_network(written), reason)
    for written, reason in (
        ("100.64.0.0/10", "shared by a carrier's customers"),
        # a public number, but in Azure the host of each machine, with its metadata
        ("168.63.129.16/32", "a cloud's own"),
        ("192.0.0.0/24", "for protocols"),
        ("192.31.196.0/24", "a name server's anycast"),
        ("192.52.193.0/24", "a multicast relay"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.175.48.0/24", "a name server's anycast"),
        # two of the next range that have a name
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "an IPv4 address written as IPv6"),
        ("::ffff:0:0:0/96", "an IPv4 address written as IPv6"),
        ("64:ff9b:1::/48", "a local NAT64"),
        ("2001::/32", "Teredo"),
        # port control, relays, ORCHID: some of them global to newer Pythons
        ("2001::/23", "for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "a name server's anycast"),
        ("3fff::/20", "for documentation"),
        ("5f00::/16", "for segment routing"),
        ("fec0::/10", "site-local"),
    )
)


class Endpoint(NamedTuple):
    """One address of a host."""

    family: socket.AddressFamily
    #: the argument of `socket.connect`: (address, port) or (address, port, flow, scope)
    sockaddr: tuple[Any, ...]

    @property
    def address(self) -> str:
        """The IP address, as text."""
        return str(self.sockaddr[0])


def blocked_reason(address: str) -> str | None:
    """Return why outsiders may not name `address` (an IP address); None if they may.

    IPv4 inside IPv6 (mapped, and NAT64's well-known prefix) is checked as the IPv4 address that is
    finally reached; 6to4 and Teredo use unknown relays and are refused entirely.
    """
    judged = _unwrapped(ipaddress.ip_address(address))
    for network, reason in BLOCKED_RANGES:
        if judged in network:
            return reason
    return _kind_of_address(judged)


def _unwrapped(address: IPAddress) -> IPAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _kind_of_address(address: IPAddress) -> str | None:
    kinds = {
        "unspecified": address.is_unspecified,
        "loopback": address.is_loopback,
        # includes 169.254.169.254, where clouds serve credentials
        "link-local": address.is_link_local,
        # `is_global` is true of many multicast addresses
        "multicast": address.is_multicast,
        "private": address.is_private,
        "reserved": address.is_reserved,
        "not public": not address.is_global,
    }
    return next((kind for kind, applies in kinds.items() if applies), None)


def host_matches(entries: Collection[str], host: str, port: int) -> bool:
    """Return whether a list of allowed hosts contains this one.

    An entry is a host, `.name` for everything below a name, or one of these with `:port`; without a
    port it means all ports. IPv6 addresses with a port are written `[::1]:9000`.
    """
    wanted = _plain(host)
    return any(_matches(entry, wanted, port) for entry in entries)


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _matches(entry: str, host: str, port: int) -> bool:
    name, wanted_port = _split_port(entry)
    if wanted_port is not None and wanted_port != port:
        return False
    return host.endswith(name) if name.startswith(".") else host == name


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    is_bare_ipv6 = ":" in name and not name.endswith("]")
    if not colon or not port.isdigit() or is_bare_ipv6:
        return _plain(entry), None
    return _plain(name), int(port)


def _is_own(endpoint: Endpoint) -> bool:
    """Return whether an address is this machine's own: behind its firewall, whatever its number.

    The kernel tells from which address it would connect; connecting a UDP socket sends nothing.
    """
    with socket.socket(endpoint.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(endpoint.sockaddr)
        except OSError:  # no route there at all
            return False
        return bool(probe.getsockname()[0] == endpoint.address)


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Refuse private addresses, except for hosts that the operator allows by name.

    All others are reachable only at `ports`.
    """

    allow_private: tuple[str, ...] = ()
    ports: tuple[range, ...] = (range(1, 65_536),)

    def trusts(self, host: str, port: int) -> bool:
        """Return whether the operator allows this host by name, wherever it leads."""
        return host_matches(self.allow_private, host, port)

    def opens(self, port: int) -> bool:
        """Return whether outsiders may name this port."""
        return any(port in allowed for allowed in self.ports)

    def judge(self, host: str, port: int, endpoints: Collection[Endpoint]) -> None:
        """Check the port and every address of `host`; raise AddressForbidden if any is forbidden.

        All are checked, because the resolver decides which one is used.
        """
        if self.trusts(host, port):
            return
        if not self.opens(port):
            raise AddressForbidden(f"The port {port} of {host} is not allowed.")
        for endpoint in endpoints:
            reason = blocked_reason(endpoint.address)
            if reason is None and _is_own(endpoint):
                reason = "this machine's own"
            if reason is not None:
                raise AddressForbidden(f"{host} resolves to an address that is {reason}.")


#: Resolves a host: (host, port, timeout in seconds); raises OSError, TimeoutError.
Resolver = Callable[[str, int, float | None], tuple[Endpoint, ...]]


def resolve(host: str, port: int, timeout: float | None) -> tuple[Endpoint, ...]:
    """Resolve a host once; raise OSError if it has no address, TimeoutError if it takes too long.

    `timeout` in seconds; the thread's deadline also applies. The system's resolver has no time
    limit, so it runs on a thread of its own, which continues until the system gives up
    (`resolv.conf`: usually 5 s, twice, per server).
    """
    if is_address(host):
        return _resolve_now(host, port)
    found: Future[tuple[Endpoint, ...]] = Future()
    threading.Thread(target=_settle, args=(found, host, port), name="resolve", daemon=True).start()
    return found.result(timeout=within(timeout))


def is_address(host: str) -> bool:
    """Return whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _settle(found: Future[tuple[Endpoint, ...]], host: str, port: int) -> None:
    try:
        found.set_result(_resolve_now(host, port))
    except Exception as error:  # noqa: BLE001  raised again where the result is read
        found.set_exception(error)


def _resolve_now(host: str, port: int) -> tuple[Endpoint, ...]:
    try:
        answers = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (UnicodeError, OverflowError) as error:  # the latter for a port with many digits
        raise OSError(f"{host} is not a name that can be looked up") from error
    return tuple(Endpoint(family, sockaddr) for family, _, _, _, sockaddr in answers)
