"""Dead provider keys, and how they come back."""

import pytest

from shared.jobs import State
from shared.store import moves, upkeep
from tests.workshop import Workshop
from worker.revive import Reviver


def dead(workshop: Workshop) -> set[str]:
    gate = workshop.world.store.run(upkeep.report_signal(moves.NO_SIGNAL))
    return {name for name in gate if name.startswith("dead:")}


def test_a_key_that_was_found_dead_is_used_again_when_the_provider_takes_it(
    workshop: Workshop,
) -> None:
    # given
    [key] = workshop.room.keys
    key_id = key.id
    workshop.world.store.run(upkeep.report_signal(moves.Signal.key_dead(key_id)))
    assert dead(workshop) == {f"dead:{key_id}"}
    # when
    Reviver(workshop.room).revive()
    # then
    assert dead(workshop) == set()
    assert workshop.run().state is State.SUCCEEDED
    assert workshop.paid() == 1


def test_a_key_that_is_dead_stays_out_of_use_and_is_named(
    workshop: Workshop, capfd: pytest.CaptureFixture[str]
) -> None:
    # given
    [key] = workshop.room.keys
    key_id = key.id
    workshop.provider.good_keys(["another"])
    workshop.world.store.run(upkeep.report_signal(moves.Signal.key_dead(key_id)))
    # when
    Reviver(workshop.room).revive()
    # then
    assert dead(workshop) == {f"dead:{key_id}"}
    assert key_id in "".join(capfd.readouterr())
    workshop.provider.good_keys(None)
