"""What one check found, and how a check that fails becomes a finding too."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do where it is not `well`."""

    check: str
    well: bool
    message: str
    advice: str = ""


Check = Callable[[], Iterator[Finding]]


def guarded(name: str, advice: str, check: Check) -> Iterator[Finding]:
    """Make a check; whatever it raises is a finding, and the next check is made all the same."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001  who is ill is examined to the end
        yield Finding(name, well=False, message=str(error) or type(error).__name__, advice=advice)
