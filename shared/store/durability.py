"""Writes that are believed only once replicas have them too.

After a failover the replica's word is the truth. Waiting narrows what such a failover can lose, and
does not close it: a write may still be lost that nobody was told of.
"""

from dataclasses import dataclass

from shared.errors import OutcomeUnknown, StoreError
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must have a write, and for how many milliseconds that is waited for."""

    count: int = 0
    wait_ms: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Replicas":
        """Wait for half of the time that Redis has for an answer."""
        return cls(settings.redis_replicas, int(settings.redis_timeout_seconds * 500))

    @property
    def wait(self) -> tuple[str | int, ...]:
        """The command that waits, to be sent behind a write over the same connection."""
        return "WAIT", self.count, self.wait_ms

    def doubt(self, have: object) -> StoreError | None:
        """Say why a write is not to be believed that `have` replicas have; None where it is."""
        if isinstance(have, int) and have >= self.count:
            return None
        return OutcomeUnknown(f"{have} of {self.count} replicas of Redis had the write in time.")


NONE = Replicas()
