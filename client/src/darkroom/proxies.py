"""The proxy of a service, from HTTP_PROXY, HTTPS_PROXY and ALL_PROXY.

httpx reads these too, but it sends loopback addresses to a proxy, and does not tell which proxy a
request used.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

import httpx

from darkroom.errors import NotConfigured


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the variable that names it."""

    server: httpx.Proxy
    variable: str

    def __str__(self) -> str:
        """Return its URL without user and password."""
        return f"the proxy {self.server.url} ({self.variable})"


def find_proxy(url: httpx.URL) -> Proxy | None:
    """Return the proxy for a service; None for a direct connection, as on this machine.

    An unusable proxy is refused even for this machine. Raise NotConfigured.
    """
    if proxy_bypass(url.netloc.decode("ascii")):
        return None
    named = getproxies()
    scheme = url.scheme if named.get(url.scheme) else "all"
    address = (named.get(scheme) or "").strip()
    if not address:
        return None
    proxy = Proxy(_server(address, f"{scheme.upper()}_PROXY"), f"{scheme.upper()}_PROXY")
    return None if is_loopback(url.host) else proxy


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    name = host.rstrip(".").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _server(address: str, variable: str) -> httpx.Proxy:
    try:
        server = httpx.Proxy(address if "://" in address else f"http://{address}")
    except (ValueError, httpx.InvalidURL):
        server = None
    if server is None or not server.url.host:
        raise NotConfigured(
            f"{variable} is not the URL of a proxy, such as http://proxy.example.com:3128."
        )
    if server.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise NotConfigured(
            f"{variable} names a SOCKS proxy, which needs `pip install 'httpx[socks]'`; "
            "NO_PROXY names hosts that are reached without a proxy."
        )
    return server
