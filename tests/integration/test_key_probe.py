"""Dead provider keys, and how they come back."""

import pytest

from shared.jobs import State
from shared.store import maintenance, transitions
from tests.integration.conftest import Open
from tests.support.worker_harness import WorkerHarness
from worker.key_probe import KeyProbe


def dead(harness: WorkerHarness) -> set[str]:
    gate = harness.world.store.run(maintenance.report_signal(transitions.NO_SIGNAL))
    return {name for name in gate if name.startswith("dead:")}


def test_a_key_that_was_found_dead_is_used_again_when_the_provider_takes_it(
    harness: WorkerHarness,
) -> None:
    # given
    [key] = harness.context.keys
    key_id = key.id
    harness.world.store.run(maintenance.report_signal(transitions.Signal.key_dead(key_id)))
    assert dead(harness) == {f"dead:{key_id}"}
    # when
    KeyProbe(harness.context).revive()
    # then
    assert dead(harness) == set()
    assert harness.run().state is State.SUCCEEDED
    assert harness.paid() == 1


def test_a_key_that_is_dead_stays_out_of_use_and_is_named(
    harness: WorkerHarness, capfd: pytest.CaptureFixture[str]
) -> None:
    # given
    [key] = harness.context.keys
    key_id = key.id
    harness.provider.good_keys(["another"])
    harness.world.store.run(maintenance.report_signal(transitions.Signal.key_dead(key_id)))
    # when
    KeyProbe(harness.context).revive()
    # then
    assert dead(harness) == {f"dead:{key_id}"}
    assert "replace it" in (logged := "".join(capfd.readouterr()))
    assert key_id in logged
    harness.provider.good_keys(None)


def test_a_key_that_cannot_be_checked_is_not_said_to_be_dead(
    open_harness: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    # given a provider that cannot be reached
    harness = open_harness(onemin_base_url="http://127.0.0.1:9")
    [key] = harness.context.keys
    harness.world.store.run(maintenance.report_signal(transitions.Signal.key_dead(key.id)))
    # when
    KeyProbe(harness.context).revive()
    # then
    assert dead(harness) == {f"dead:{key.id}"}
    assert "replace it" not in "".join(capfd.readouterr())
