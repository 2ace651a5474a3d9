"""When images were stored: read from the storage's own files afterwards, so it costs nothing."""

import os
from collections.abc import Iterator
from pathlib import Path


def stored_at(folder: Path, *, since: float) -> list[float]:
    """Give the times, in seconds since 1970, at which objects were stored since then, in order."""
    return sorted(at for at in _times(folder) if at >= since)


def _times(folder: Path) -> Iterator[float]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield (Path(place) / name).stat().st_mtime


def steady_rate(times: list[float]) -> float:
    """Give the images a second between the first and the last fifth: neither start nor end."""
    fifth = len(times) // 5
    middle = times[fifth:-fifth]
    return (len(middle) - 1) / (middle[-1] - middle[0])
