"""Dead provider keys, and how they come back."""

import pytest

from shared.jobs import State
from shared.store import moves, upkeep
from tests.workshop import Workshop
from worker.revive import Reviver


def dead(workshop: Workshop) -> set[str]:
    gate = workshop.world.store.run(upkeep.learn(moves.NOTHING))
    return {name for name in gate if name.startswith("dead:")}


def test_a_key_that_was_found_dead_is_used_again_when_the_provider_takes_it(
    workshop: Workshop,
) -> None:
    # given
    [key_id] = workshop.room.keys
    workshop.world.store.run(upkeep.learn(moves.Lesson.dead_key(key_id)))
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
    [key_id] = workshop.room.keys
    workshop.provider.good_keys(["another"])
    workshop.world.store.run(upkeep.learn(moves.Lesson.dead_key(key_id)))
    # when
    Reviver(workshop.room).revive()
    # then
    assert dead(workshop) == {f"dead:{key_id}"}
    assert key_id in "".join(capfd.readouterr())
    workshop.provider.good_keys(None)
