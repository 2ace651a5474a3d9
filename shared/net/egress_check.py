"""Distinguish an egress proxy that fails from a host that it cannot reach.

Proxies report both alike: for a host that is down tinyproxy answers 500 and Squid 503, and while a
host is slow to accept a connection the proxy is silent.
"""

import threading
import time
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
_SECONDS = 2.5
#: The time limit for both.
CHECK_SECONDS = 2 * _SECONDS
#: How long a proxy that failed counts as failing without another check.
_KEPT_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


class EgressCheck:
    """Opens tunnels to hosts that should be reachable, and sends nothing. Thread-safe."""

    def __init__(self, proxy: EgressProxy | None, hosts: Sequence[tuple[str, int]]) -> None:
        """Check `proxy` with those of `hosts` that it leads to; None: there is no proxy.

        If it leads to none of them, they only show whether the proxy answers at all.
        """
        self._way_out = proxy
        self._proxy = proxy and replace(proxy, direct_hosts=())
        needed = [host for host in hosts if proxy and proxy.leads_to(*host)]
        self._is_needed = bool(needed)
        self._hosts = needed or hosts[:1]
        self._lock = threading.Lock()
        self._last, self._kept_until = "", 0.0
        self._began = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Check the proxy with 1min.ai and the storage."""
        storage = f"{'https' if settings.s3_secure else 'http'}://{settings.s3_endpoint}"
        hosts = [_address(url) for url in (settings.onemin_base_url, storage)]
        return cls(Egress.from_settings(settings).proxy, hosts)

    def leads_to(self, url: str) -> bool:
        """Return whether requests of this URL go through the proxy."""
        return self._way_out is not None and self._way_out.leads_to(*_address(url))

    def failure(self) -> str:
        """Return how the proxy fails; '' if it works, or there is none.

        It works if it opens a tunnel to one of the hosts, or its rules forbid all of them. Threads
        that ask at the same time share the result of the next check, so that they do not wait for
        one check each. A failure is returned for some seconds more.
        """
        if self._proxy is None:
            return ""
        asked = time.monotonic()
        with self._lock:
            if self._began <= asked and time.monotonic() >= self._kept_until:
                self._began = time.monotonic()
                self._last = self._examine()
                self._kept_until = time.monotonic() + _KEPT_SECONDS if self._last else 0.0
            return self._last

    def _examine(self) -> str:
        failures = []
        for host, port in self._hosts:
            try:
                with (
                    deadline(_SECONDS),
                    closing(open_socket(host, port, timeout=_SECONDS, proxy=self._proxy)),
                ):
                    return ""
            except EgressProxyError as error:
                # to a host that it need not lead to, any answer shows that it works
                if not error.is_refusal and (self._is_needed or error.status is None):
                    failures.append(str(error))
        return failures[0] if failures else ""


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]
