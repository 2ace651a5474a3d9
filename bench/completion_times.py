"""When images were stored, read from the storage's files after the run."""

import os
from collections.abc import Iterator
from pathlib import Path


def stored_at(folder: Path, *, since: float) -> list[float]:
    """Return the times, in seconds since 1970, of the objects stored since `since`, in order."""
    return sorted(at for at in _times(folder) if at >= since)


def _times(folder: Path) -> Iterator[float]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield (Path(place) / name).stat().st_mtime


def steady_rate(times: list[float]) -> float:
    """Return the images per second between the first and the last fifth, without start and end."""
    fifth = len(times) // 5
    middle = times[fifth:-fifth]
    return (len(middle) - 1) / (middle[-1] - middle[0])
