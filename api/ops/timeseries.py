"""From the counters as they stood to what happened in each step of time. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.serializers import rfc3339
from shared.store.functions import HISTORY_KEPT, HISTORY_STEPS_MS
from shared.store.stats import COUNTED, Sample


def step_of(minutes: int) -> int:
    """Give the finest step (milliseconds) of which so many minutes are kept."""
    for step_ms in HISTORY_STEPS_MS:
        if minutes * 60_000 <= step_ms * HISTORY_KEPT:
            return step_ms
    raise ValueError("more than is kept")


def series(samples: Sequence[Sample], *, step_ms: int, back_ms: int) -> dict[str, Any]:
    """Write a column for each number, with an entry for each step up to the last sample, of now.

    The sample of a step is taken at its beginning, so what happened in the step before is the
    difference to that one's sample; where one of the two is missing, nobody knows.
    """
    *earlier, now = samples
    first = (now.at - back_ms) // step_ms + 1
    by_slot = {sample.at // step_ms: sample for sample in earlier}
    slots = range(first, now.at // step_ms + 1)
    columns: dict[str, list[Any]] = {"at": [rfc3339(slot * step_ms) for slot in slots]}
    for name in COUNTED:
        columns[name] = [_change(by_slot.get(slot - 1), by_slot.get(slot), name) for slot in slots]
    for name, read in _GAUGES.items():
        columns[name] = [read(by_slot[slot]) if slot in by_slot else None for slot in slots]
    return {
        "from": rfc3339(first * step_ms),
        "to": rfc3339(now.at),
        "step_seconds": step_ms // 1000,
        "points": columns,
        "totals": _totals(earlier, now),
    }


_GAUGES: Mapping[str, Callable[[Sample], Any]] = {
    "waiting": lambda sample: sample.waiting,
    "running": lambda sample: sample.running,
    "webhooks": lambda sample: sample.webhooks,
    "oldest_age_seconds": lambda sample: sample.oldest / 1000,
    "blocked_by": lambda sample: sample.closed,
}


def _change(before: Sample | None, after: Sample | None, name: str) -> int | None:
    if before is None or after is None:
        return None
    change = after.counts[name] - before.counts[name]
    return change if change >= 0 else None  # counted anew: the data was lost


def _totals(samples: Sequence[Sample], now: Sample) -> dict[str, Any]:
    """Write what happened since the first sample, gaps and all."""
    since = samples[0] if samples else now
    counts = {name: max(now.counts[name] - since.counts[name], 0) for name in COUNTED}
    return {"since": rfc3339(since.at), **counts}
