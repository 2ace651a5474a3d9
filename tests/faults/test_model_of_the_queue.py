"""Row 18: any sequence of moves against a model; the rules stand in `test_queue_model`."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis.stateful import invariant

from tests.contract.test_queue_model import Queue, run
from tests.faults.conftest import Tell
from tests.support.store import World


class Counted(Queue):
    """Counts the states in which model and Redis agreed."""

    agreed = 0

    @invariant()
    def count(self) -> None:
        type(self).agreed += 1


@pytest.fixture
def machine(empty_redis_url: str) -> Iterator[type[Counted]]:
    with closing(World(empty_redis_url, webhook_max_per_host=1)) as world:
        yield type("Machine", (Counted,), {"world": world})


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        (5, 40),
        pytest.param(200, 100, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_redis_agrees_with_the_model_whatever_happens(
    machine: type[Counted], tell: Tell, examples: int, steps: int
) -> None:
    run(machine, examples=examples, steps=steps)
    assert machine.agreed > examples
    tell(18, f"{examples} sequences of moves", states_agreed=machine.agreed)
