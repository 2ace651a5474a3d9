import json
from typing import Any

import pytest

from sandbox.provider.behavior import BadBody, Behavior
from sandbox.provider.call_log import CallLog
from sandbox.provider.faults import Ok, Status
from sandbox.provider.keys import Keys


def behavior(body: dict[str, Any]) -> Behavior:
    made = Behavior(latency_seconds=0.3)
    add(made, body)
    return made


def add(made: Behavior, body: dict[str, Any]) -> None:
    made.replace(json.dumps(body).encode())


def faults(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(BadBody) as raised:
        Behavior(latency_seconds=0.3).replace(body)
    return raised.value.faults


def test_the_script_is_taken_step_by_step_and_then_the_default() -> None:
    made = behavior(
        {"script": [{"fault": "status", "status": 429}, "ok"], "default": {"fault": "empty"}}
    )

    assert [made.take()[0].name for _ in range(4)] == ["status", "ok", "empty", "empty"]


def test_what_is_left_is_shown_as_it_was_sent() -> None:
    status = {"fault": "status", "status": 429, "retry_after": 2}
    made = behavior({"latency_seconds": 0.1, "script": ["ok", status, "ok"]})
    made.take()

    left = {"latency_seconds": 0.1, "script": [status, "ok"], "default": "ok"}
    assert made.shown() == left | {"limited": []}


def test_what_is_left_out_goes_back_to_how_it_began() -> None:
    made = behavior({"latency_seconds": 5, "script": ["ok"], "default": {"fault": "drop"}})
    made.replace(b"{}")

    begun = {"latency_seconds": 0.3, "script": [], "default": "ok"}
    assert made.shown() == begun | {"limited": []}


def test_a_step_can_have_a_latency_of_its_own() -> None:
    made = behavior({"script": [{"fault": "ok", "latency_seconds": 9}]})

    assert [made.take()[1] for _ in range(2)] == [9, 0.3]


def test_the_most_specific_behavior_decides() -> None:
    made = behavior({"default": {"fault": "empty"}})
    add(made, {"model": "m", "default": {"fault": "drop"}})
    add(made, {"key": "k", "default": {"fault": "malformed"}})
    add(made, {"key": "k", "model": "m", "script": ["ok"], "default": {"fault": "hang"}})

    calls = [("k", "m"), ("k", "m"), ("k", "other"), ("other", "m"), ("other", "other")]
    assert [made.take(*call)[0].name for call in calls] == [
        "ok",
        "hang",
        "malformed",
        "drop",
        "empty",
    ]


def test_a_limited_behavior_is_replaced_by_one_with_the_same_limits_and_ended_by_a_reset() -> None:
    made = behavior({"default": {"fault": "empty"}})
    add(made, {"key": "k", "default": {"fault": "drop"}})
    add(made, {"key": "k", "default": {"fault": "malformed"}})
    add(made, {"default": "ok"})
    assert [made.take("k")[0].name, made.take("other")[0].name] == ["malformed", "ok"]
    assert [(one["key"], one["model"]) for one in made.shown()["limited"]] == [("k", None)]

    made.reset()

    assert made.take("k")[0].name == "ok"
    assert made.shown()["limited"] == []


def test_a_limited_behavior_has_the_general_latency_unless_it_has_its_own() -> None:
    made = behavior({"latency_seconds": 0.1})
    add(made, {"key": "slow", "latency_seconds": 5})
    add(made, {"key": "usual"})

    assert [made.take(key)[1] for key in ("slow", "usual", "other")] == [5, 0.1, 0.1]


def test_every_fault_of_a_wrong_body_is_named_by_place() -> None:
    body = {
        "latency_seconds": -1,
        "script": ["ok", "fine", {"fault": "status"}, {"fault": "hang", "secs": 1}],
        "default": {"fault": "drop", "paid": "yes"},
        "extra": 1,
    }

    assert [pointer for pointer, _ in faults(json.dumps(body).encode())] == [
        "/latency_seconds",
        "/script/1",
        "/script/2/status",
        "/script/3/secs",
        "/default/paid",
        "/extra",
    ]


def test_an_unknown_fault_is_answered_with_those_there_are() -> None:
    pointer, message = faults(b'{"script":[{"fault":"nope"}]}')[0]

    assert pointer == "/script/0"
    assert "misleading_busy" in message


def test_a_wrong_body_changes_nothing() -> None:
    made = behavior({"script": [{"fault": "status", "status": 500}]})
    with pytest.raises(BadBody):
        made.replace(b'{"script": ["ok"], "default": 1}')

    assert isinstance(made.take()[0], Status)
    assert isinstance(made.take()[0], Ok)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert faults(body)


def test_any_key_is_good_until_the_good_ones_are_named() -> None:
    keys = Keys()
    assert keys.admit({"api-key": "any"})
    assert not keys.admit({})
    assert not keys.admit({"api-key": " "})

    keys.replace(b'{"good": ["a"]}')

    assert keys.admit({"api-key": "a"})
    assert keys.admit({"authorization": "Bearer a"})
    assert not keys.admit({"authorization": "Basic a"})
    assert not keys.admit({"api-key": "b"})


def test_a_wrong_list_of_keys_changes_nothing() -> None:
    keys = Keys(["a"])
    with pytest.raises(BadBody):
        keys.replace(b'{"good": "b"}')

    assert keys.shown() == {"good": ["a"]}


def test_the_call_log_drops_the_oldest_beyond_its_bound() -> None:
    call_log = CallLog(max_kept=2)
    for record_id in "abc":
        call_log.note("result", "ok", record_id=record_id)

    assert [call["record_id"] for call in call_log.shown()] == ["b", "c"]
