"""The result of one check, also of a check that raises."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `advice` says what to do if it is not `well`."""

    check: str
    well: bool
    message: str
    advice: str = ""


Check = Callable[[], Iterator[Finding]]


def guarded(name: str, advice: str, check: Check) -> Iterator[Finding]:
    """Run a check and yield its findings; an exception becomes a finding."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001  the other checks still run
        yield Finding(name, well=False, message=str(error) or type(error).__name__, advice=advice)
