"""Wait for replicas before a write counts as successful.

After a failover the replica's data is what counts. Waiting reduces what a failover can lose, and
does not eliminate it: a write that was never acknowledged may still be lost.
"""

from dataclasses import dataclass

from shared.errors import OutcomeUnknown, StoreError
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must have a write, and how many milliseconds to wait for them."""

    count: int = 0
    wait_ms: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Replicas":
        """Wait for half of Redis' response timeout."""
        return cls(settings.redis_replicas, int(settings.redis_timeout_seconds * 500))

    @property
    def wait(self) -> tuple[str | int, ...]:
        """The command to send after a write over the same connection."""
        return "WAIT", self.count, self.wait_ms

    def doubt(self, have: object) -> StoreError | None:
        """Return why a write that `have` replicas confirmed does not count; None if it does."""
        if isinstance(have, int) and have >= self.count:
            return None
        return OutcomeUnknown(
            f"{have} of {self.count} replicas of Redis confirmed the write in time."
        )


NONE = Replicas()
