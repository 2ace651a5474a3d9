"""Turn samples of counters into values per time step. Pure."""

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.store.functions import SAMPLE_STEPS_MS, SAMPLES_KEPT
from shared.store.stats import Sample


class Totals(TypedDict):
    """Totals of jobs: `started` counts attempts, `again` counts how often one was queued again."""

    accepted: Count
    started: Count
    requeued: Count
    succeeded: Count
    failed: Count
    canceled: Count


class TotalsSince(Totals):
    """What happened since the first sample."""

    since: Time


Counts = list[Count | None]


class Points(TypedDict):
    """A column for each number, with an entry for each step.

    An entry is null if it was not recorded. Counts are of the step that ends at `at`.
    """

    at: list[Time]
    accepted: Counts
    started: Counts
    requeued: Counts
    succeeded: Counts
    failed: Counts
    canceled: Counts
    waiting: Counts
    running: Counts
    webhooks: Counts
    oldest_age_seconds: list[float | None]
    blocked_by: list[str | None]


#: `from` is a keyword of Python.
History = TypedDict(
    "History",
    {
        "from": Time,
        "to": Time,
        "step_seconds": Count,
        "points": Points,
        "totals": TotalsSince,
    },
)


def step_of(minutes: int) -> int:
    """Return the finest step (milliseconds) that is kept for so many minutes."""
    for step_ms in SAMPLE_STEPS_MS:
        if minutes * 60_000 <= step_ms * SAMPLES_KEPT:
            return step_ms
    raise ValueError("more than is kept")


def series(samples: Sequence[Sample], *, step_ms: int, back_ms: int) -> History:
    """Write a column for each number, with an entry for each step up to the last sample, of now.

    A step is sampled at its beginning, so the count of the previous step is the difference to its
    sample; without one of the two samples it is unknown.
    """
    *earlier, now = samples
    first = (now.at - back_ms) // step_ms + 1
    by_slot = {sample.at // step_ms: sample for sample in earlier}
    slots = range(first, now.at // step_ms + 1)

    def changes(name: str) -> Counts:
        return [_change(by_slot.get(slot - 1), by_slot.get(slot), name) for slot in slots]

    noted = [by_slot.get(slot) for slot in slots]
    points: Points = {
        "at": [rfc3339(slot * step_ms) for slot in slots],
        "accepted": changes("accepted"),
        "started": changes("started"),
        "requeued": changes("requeued"),
        "succeeded": changes("succeeded"),
        "failed": changes("failed"),
        "canceled": changes("canceled"),
        "waiting": [one.waiting if one else None for one in noted],
        "running": [one.running if one else None for one in noted],
        "webhooks": [one.webhooks if one else None for one in noted],
        "oldest_age_seconds": [one.oldest / 1000 if one else None for one in noted],
        "blocked_by": [one.closed if one else None for one in noted],
    }
    return {
        "from": rfc3339(first * step_ms),
        "to": rfc3339(now.at),
        "step_seconds": step_ms // 1000,
        "points": points,
        "totals": _totals(earlier, now),
    }


def _change(before: Sample | None, after: Sample | None, name: str) -> int | None:
    if before is None or after is None:
        return None
    change = after.counts[name] - before.counts[name]
    return change if change >= 0 else None  # the counter restarted, because data was lost


def _totals(samples: Sequence[Sample], now: Sample) -> TotalsSince:
    """Write what happened since the first sample, including gaps."""
    since = samples[0] if samples else now
    counts = {name: max(count - since.counts[name], 0) for name, count in now.counts.items()}
    return {"since": rfc3339(since.at), **totals_shown(counts)}


def totals_shown(counts: Mapping[str, int]) -> Totals:
    """Write the counters of jobs."""
    return {
        "accepted": counts["accepted"],
        "started": counts["started"],
        "requeued": counts["requeued"],
        "succeeded": counts["succeeded"],
        "failed": counts["failed"],
        "canceled": counts["canceled"],
    }
