"""Distinguish an egress proxy that fails from a host that it cannot reach.

Proxies report both alike: for a host that is down tinyproxy answers 500 and Squid 503, and while a
host is slow to accept a connection the proxy is silent.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from shared.net.egress import EgressProxy, EgressProxyError
from shared.net.sockets import Egress, open_socket
from shared.net.timeouts import deadline
from shared.settings import Settings

#: The time limit for each host, in seconds.
_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


class EgressCheck:
    """Opens tunnels to hosts that should be reachable, and sends nothing. Thread-safe."""

    def __init__(self, proxy: EgressProxy | None, hosts: Sequence[tuple[str, int]]) -> None:
        """Check `proxy` with `hosts`, including its direct hosts; None: there is no proxy."""
        self._proxy = proxy and replace(proxy, direct_hosts=())
        self._hosts = hosts if proxy else ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Check the proxy with 1min.ai and the storage."""
        storage = f"{'https' if settings.s3_secure else 'http'}://{settings.s3_endpoint}"
        addresses = map(urlsplit, (settings.onemin_base_url, storage))
        hosts = [(one.hostname or "", one.port or _PORTS[one.scheme]) for one in addresses]
        return cls(Egress.from_settings(settings).proxy, hosts)

    def failure(self) -> str:
        """Return how the proxy fails; '' if it works, or there is none.

        It works if it opens a tunnel to one of the hosts, or refuses to.
        """
        failures = []
        for host, port in self._hosts:
            try:
                with (
                    deadline(_SECONDS),
                    closing(open_socket(host, port, timeout=_SECONDS, proxy=self._proxy)),
                ):
                    return ""
            except EgressProxyError as error:
                if error.is_refusal:
                    return ""
                failures.append(str(error))
        return failures[0] if failures else ""
