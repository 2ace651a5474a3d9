"""What events of the service say."""

import pytest

from shared.operator_events import ENDS, OperatorEvent, duration, explain, slack_text

BEGAN, ENDED = "2026-10-16T08:00:00.000Z", "2026-10-16T09:05:07.000Z"
HELD = dict.fromkeys(("model", "key", "team", "credits_needed", "credits_left", "image_host"))
DATA: dict[OperatorEvent, dict[str, object]] = {
    OperatorEvent.PROVIDER_HELD: {**HELD, "reason": "provider_credits", "team": "shop"},
    OperatorEvent.PROVIDER_KEY_FAILED: {"key": "…abcd"},
    OperatorEvent.STORAGE_UNAVAILABLE: {},
    OperatorEvent.QUEUE_DELAYED: {"oldest_age_seconds": 700, "blocked_by": "paused"},
    OperatorEvent.ENDPOINT_DISABLED: {
        "endpoint_id": "ep_1",
        "tenant": None,
        "url": None,
        "reason": "failing",
    },
    OperatorEvent.MODEL_REMOVED: {"model": "m", "reason": "not listed"},
}


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3907, "1 h 5 min"),
        (86_400, "1 day"),
        (2 * 86_400 + 3 * 3600 + 60, "2 days 3 h"),
    ],
)
def test_a_duration_is_written_in_its_two_largest_units(seconds: float, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize("event", ENDS)
def test_a_beginning_says_what_to_do_and_its_end_does_not(event: OperatorEvent) -> None:
    problem, action = explain(event, DATA[event])
    end, nothing = explain(ENDS[event], DATA[event])
    assert problem != end
    for sentence in (problem, action, end):
        assert sentence.endswith(".")
        assert "None" not in sentence
    assert nothing == ""


def test_a_message_in_slack_has_the_times_and_the_console() -> None:
    data = {"message": "<it> & that.", "action": "Do.", "began_at": BEGAN}
    begun = slack_text("queue.delayed", {**data, "ended_at": None}, console="https://d.example/ops")
    assert begun == (
        "*queue.delayed* &lt;it&gt; &amp; that. Since 2026-10-16T08:00:00.000Z. Do. "
        "Console: https://d.example/ops"
    )
    over = {**data, "ended_at": ENDED, "duration_seconds": 3907}
    ended = slack_text("queue.recovered", over, console="https://d.example/ops")
    assert f"It lasted 1 h 5 min, from {BEGAN} to {ENDED}." in ended
    assert "Do." not in ended
