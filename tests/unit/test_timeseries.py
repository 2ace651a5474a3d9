"""What happened in each step of time, from the counters as they stood."""

from typing import Any

import pytest

from api.ops.timeseries import History, series, step_of
from shared.store.stats import COUNTED, Sample

STEP = 10_000


def sample(slot: float, count: int, **changes: Any) -> Sample:
    series_of: dict[str, Any] = {
        "at": round(slot * STEP),
        "counts": dict.fromkeys(COUNTED, count),
        "waiting": 3,
        "running": 2,
        "webhooks": 0,
        "oldest": 1500,
        "closed": None,
    }
    return Sample(**{**series_of, **changes})


def series_of(*samples: Sample, steps: int = 5) -> History:
    return series(samples, step_ms=STEP, back_ms=steps * STEP)


def test_each_step_has_what_happened_in_the_one_before() -> None:
    seen = series_of(
        *(sample(number + 0.04, number * 7) for number in range(1, 7)), sample(6.5, 50)
    )
    assert seen["points"]["accepted"] == [7, 7, 7, 7, 7]
    assert seen["points"]["at"][0] == "1970-01-01T00:00:20.000Z"
    assert seen["points"]["at"][-1] == "1970-01-01T00:01:00.000Z"
    assert seen["points"]["oldest_age_seconds"] == [1.5] * 5
    assert seen["step_seconds"] == 10


def test_where_nobody_swept_there_is_a_gap_and_the_total_is_right_all_the_same() -> None:
    seen = series_of(sample(2, 10), sample(3, 12), sample(6, 40), sample(6.1, 41))
    # slots 2 to 6: of the first nothing is known before, and of the last neither
    assert seen["points"]["failed"] == [None, 2, None, None, None]
    assert seen["points"]["waiting"] == [3, 3, None, None, 3]
    assert seen["totals"]["failed"] == 31


def test_counters_that_begin_anew_are_a_gap() -> None:
    seen = series_of(sample(4, 100), sample(5, 3), sample(5.5, 4), steps=2)
    assert seen["points"]["accepted"] == [None, None]
    assert seen["totals"]["accepted"] == 0


def test_nothing_is_told_of_a_service_that_has_just_begun() -> None:
    seen = series_of(sample(3, 1), steps=2)
    assert seen["points"]["accepted"] == [None, None]
    assert seen["totals"]["accepted"] == 0


@pytest.mark.parametrize(
    ("minutes", "step_ms"),
    [(1, 10_000), (120, 10_000), (121, 60_000), (360, 60_000), (1440, 300_000), (2880, 300_000)],
)
def test_the_finest_step_that_is_kept_for_so_long_is_taken(minutes: int, step_ms: int) -> None:
    assert step_of(minutes) == step_ms
