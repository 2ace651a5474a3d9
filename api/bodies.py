"""Limits of request bodies: of each one, and of all that this process holds at once."""

from collections import Counter
from collections.abc import Mapping

from api.problems import Problem

#: A request of at most this size is never refused because of other requests.
SMALL_BYTES = 64 * 1024


class BodyLimits:
    """Count the bytes of larger bodies until their requests end."""

    def __init__(
        self,
        largest: int,
        *,
        larger: Mapping[str, int] | None = None,
        held: int | None = None,
        held_of_tenant: int | None = None,
    ) -> None:
        """Allow bodies of `largest` bytes; `larger` gives other limits for some paths.

        `held` is the limit for all bodies together, `held_of_tenant` for those of one tenant.
        """
        self._largest = largest
        self._larger = larger or {}
        self._most = held or largest
        self._most_of_tenant = held_of_tenant or self._most
        self._held = 0
        self._held_of: Counter[str] = Counter()

    def largest(self, path: str) -> int:
        """Return the size limit of a path, in bytes."""
        return self._larger.get(path, self._largest)

    def add(self, size: int, tenant: str) -> None:
        """Count `size` more bytes."""
        self._held += size
        self._held_of[tenant] += size

    def remove(self, size: int, tenant: str) -> None:
        """Count `size` fewer bytes."""
        self._held -= size
        self._held_of[tenant] -= size
        if not self._held_of[tenant]:
            del self._held_of[tenant]

    def check(self, tenant: str) -> None:
        """Raise a Problem if a limit is exceeded."""
        if self._held_of[tenant] > self._most_of_tenant:
            raise _too_many("Your request bodies", self._most_of_tenant)
        if self._held > self._most:
            raise _too_many("The request bodies of all tenants", self._most)


def _too_many(whose: str, most: int) -> Problem:
    detail = f"{whose} in progress may have at most {most:,} bytes together. Nothing was accepted."
    return Problem("too_many_uploads", detail)
