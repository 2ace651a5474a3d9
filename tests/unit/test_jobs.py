import re
from pathlib import Path

from shared.jobs import FINAL, TRANSITIONS, State, Status

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


def drawn() -> set[tuple[str, str, str]]:
    drawing = ARCHITECTURE.read_text().split("stateDiagram-v2")[1].split("```")[0]
    return set(re.findall(r"^ +(\w+) --> (\w+): (\w+)$", drawing, flags=re.MULTILINE))


def test_the_drawing_shows_the_moves_as_they_are() -> None:
    moves = {
        (source.value, move.target.value, name)
        for name, move in TRANSITIONS.items()
        for source in move.sources
    }
    assert drawn() == moves


def test_only_who_asks_again_moves_a_final_job_and_never_one_that_succeeded() -> None:
    leaving = {
        name: move.sources & FINAL for name, move in TRANSITIONS.items() if move.sources & FINAL
    }
    assert leaving == {"rerun": {State.FAILED, State.CANCELED}}


def test_every_state_can_be_reached_and_left() -> None:
    reached = {move.target for move in TRANSITIONS.values()}
    left = {source for move in TRANSITIONS.values() for source in move.sources}
    assert reached == set(State)
    assert left == set(State) - {State.SUCCEEDED}


def test_the_provider_is_only_asked_by_who_has_not_bought() -> None:
    assert TRANSITIONS["start_call"].sources == {State.CLAIMED}


def test_a_client_sees_five_words() -> None:
    assert {state.status for state in State} == set(Status)
    assert {state.step for state in State if not state.is_running} == {None}
