"""How large request bodies may be: one alone, and all that this process holds at once."""

from collections import Counter
from collections.abc import Mapping

from api.problems import Problem

#: A request with no more than this is never refused for what others hold.
SMALL_BYTES = 64 * 1024


class BodyLimits:
    """Counts the bytes of bodies that are not small, to the end of their requests."""

    def __init__(
        self,
        largest: int,
        *,
        larger: Mapping[str, int] | None = None,
        held: int | None = None,
        held_of_tenant: int | None = None,
    ) -> None:
        """Allow bodies of `largest` bytes; `larger` has another limit for some paths.

        `held` bytes may be held in all, `held_of_tenant` of one tenant.
        """
        self._largest = largest
        self._larger = larger or {}
        self._most = held or largest
        self._most_of_tenant = held_of_tenant or self._most
        self._held = 0
        self._held_of: Counter[str] = Counter()

    def largest(self, path: str) -> int:
        """Return how many bytes a body may have at this path."""
        return self._larger.get(path, self._largest)

    def add(self, size: int, tenant: str) -> None:
        """Count `size` bytes more."""
        self._held += size
        self._held_of[tenant] += size

    def remove(self, size: int, tenant: str) -> None:
        """Count `size` bytes less."""
        self._held -= size
        self._held_of[tenant] -= size
        if not self._held_of[tenant]:
            del self._held_of[tenant]

    def check(self, tenant: str) -> None:
        """Raise a Problem if more is held than may be."""
        if self._held_of[tenant] > self._most_of_tenant:
            raise _too_many("Your request bodies", self._most_of_tenant)
        if self._held > self._most:
            raise _too_many("The request bodies of all tenants", self._most)


def _too_many(whose: str, most: int) -> Problem:
    detail = f"{whose} under way at once may have {most:,} bytes in all. Nothing was accepted."
    return Problem("too_many_uploads", detail)
