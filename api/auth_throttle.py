"""Failed authentication attempts, counted by client address."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from api.problems import Problem

#: The maximum number of addresses; those whose failures are oldest are dropped first.
REMEMBER_ADDRESSES = 10_000
_MINUTE = 60.0
#: One IPv6 customer usually has a whole /64 network, so the first 64 bits count as one address.
_IPV6_HOST_BITS = 64


class AuthThrottle:
    """Allow each address a number of failures at once, and as many again per minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `per_minute` failures; `clock` returns seconds."""
        self._interval = _MINUTE / per_minute
        self._clock = clock
        #: when the failures of each address expire, in the order of the last failures
        self._paid_at: OrderedDict[str, float] = OrderedDict()

    def excess(self, address: str) -> Problem | None:
        """Return the problem for an address with too many failures, or None."""
        wait = self._paid_at.get(_network(address), 0) - _MINUTE + self._interval - self._clock()
        if wait <= 0:
            return None
        detail = (
            "Too many requests from your IP address used an invalid API key. "
            "Check the key you are sending."
        )
        return Problem("auth_rate_limited", detail, headers={"Retry-After": str(math.ceil(wait))})

    def note(self, address: str) -> None:
        """Count a failure."""
        network, now = _network(address), self._clock()
        self._paid_at[network] = max(self._paid_at.get(network, 0), now) + self._interval
        self._paid_at.move_to_end(network)
        if len(self._paid_at) > REMEMBER_ADDRESSES:
            self._paid_at.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a Unix socket has no address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(int(parsed) >> _IPV6_HOST_BITS)
    return address
