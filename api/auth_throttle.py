"""Failed authentication, counted by the address that it came from."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from api.problems import Problem

#: Addresses remembered at once; the ones that failed longest ago are forgotten first.
REMEMBER_ADDRESSES = 10_000
_MINUTE = 60.0
#: Whoever has one address of IPv6 has all that share its first 64 bits.
_IPV6_HOST_BITS = 64


class AuthThrottle:
    """Lets each address fail so often at once, and as often again over a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `per_minute` failures; `clock` gives seconds."""
        self._interval = _MINUTE / per_minute
        self._clock = clock
        #: when each address has paid for its failures, in the order of the last ones
        self._paid_at: OrderedDict[str, float] = OrderedDict()

    def excess(self, address: str) -> Problem | None:
        """Return what to tell an address that has failed too often; None for every other."""
        wait = self._paid_at.get(_network(address), 0) - _MINUTE + self._interval - self._clock()
        if wait <= 0:
            return None
        detail = (
            "Too many requests from your IP address used an invalid API key. "
            "Check the key you are sending."
        )
        return Problem("auth_rate_limited", detail, headers={"Retry-After": str(math.ceil(wait))})

    def note(self, address: str) -> None:
        """Count one failure."""
        network, now = _network(address), self._clock()
        self._paid_at[network] = max(self._paid_at.get(network, 0), now) + self._interval
        self._paid_at.move_to_end(network)
        if len(self._paid_at) > REMEMBER_ADDRESSES:
            self._paid_at.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a socket of this machine has no address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(int(parsed) >> _IPV6_HOST_BITS)
    return address
