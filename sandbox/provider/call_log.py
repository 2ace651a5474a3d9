"""The log of all received calls, in order of arrival, and of which were charged."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

#: Enough for a day's load test; beyond it the oldest are dropped.
MAX_CALLS = 1_000_000
KEY_CHARACTERS = 4

Kind = Literal["generate", "download", "result"]


class RequestedImage(NamedTuple):
    """The image of a call. The seed is the one used, if a record was created."""

    prompt: str | None = None
    seed: float | None = None
    model: str | None = None


NOTHING = RequestedImage()


@dataclass(slots=True)
class Call:
    """A received call. `outcome` is "ok", the step's fault, or the status of a refusal.

    `key` is the last four characters of the API key.
    """

    kind: Kind
    at: str
    prompt: str | None
    seed: float | None
    model: str | None
    key: str | None
    outcome: str
    paid: bool
    record_id: str | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class CallLog:
    """Keep the calls in memory."""

    def __init__(self, max_kept: int = MAX_CALLS) -> None:
        """Keep the latest `max_kept` calls."""
        self._calls: deque[Call] = deque(maxlen=max_kept)

    def note(
        self,
        kind: Kind,
        outcome: str,
        *,
        request: RequestedImage = NOTHING,
        key: str | None = None,
        paid: bool = False,
        record_id: str | None = None,
    ) -> None:
        """Record a call that has just arrived, with the end of its API key."""
        masked = key[-KEY_CHARACTERS:] if key else None
        self._calls.append(Call(kind, now(), *request, masked, outcome, paid, record_id))

    def clear(self) -> None:
        """Delete all calls."""
        self._calls.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Return all calls, oldest first."""
        return [call.shown() for call in self._calls]


def now() -> str:
    """Return the time in RFC 3339, UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
