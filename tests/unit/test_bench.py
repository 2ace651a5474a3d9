"""How `make bench` judges, sets and draws what it measured."""

import ast
import sys
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest

from bench import plots, table
from bench.interleave import interleave
from bench.peer_environments import PROGRAMS
from bench.results import Goal, Line, Unequal, Verdict, less, must_equal
from bench.series import Curves


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal(4, 7), 7, Verdict.AIM),
        (Goal(4, 7), 5, Verdict.FLOOR),
        (Goal(4, 7), 3.9, Verdict.BELOW),
        (Goal(2, 1.3, at_most=True), 1.2, Verdict.AIM),
        (Goal(2, 1.3, at_most=True), 2, Verdict.FLOOR),
        (Goal(2, 1.3, at_most=True), 2.1, Verdict.BELOW),
        (Goal(None, 50, at_most=True), 60, Verdict.NOT_AIM),
        (Goal(3, None), 4, Verdict.FLOOR),
    ],
)
def test_a_ratio_is_judged_by_floor_and_aim(goal: Goal, value: float, verdict: Verdict) -> None:
    assert goal.verdict(value) is verdict


def test_the_ratio_of_a_line_is_that_of_its_middle_round() -> None:
    line = Line(1, "w", "ms", [10, 20, 5], Goal(2, 10), "peer", [100, 100, 100], less)
    assert line.ratios == [10, 5, 20]
    assert line.ratio == 10
    assert table.cells(line)[5:7] == ("10.0", "5.00 to 20.0")
    assert table.cells(line)[-1] == "aim"


def test_contenders_take_turns_and_the_order_turns_round() -> None:
    turns: list[str] = []

    def contender(name: str) -> dict[str, float]:
        turns.append(name)
        return {"rate": float(len(turns))}

    rounds = interleave(
        {"a": lambda: contender("a"), "b": lambda: contender("b")}, rounds=3, say=lambda _: None
    )
    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert rounds.of("a", "rate") == [1, 4, 5]
    assert rounds.middle("b", "rate") == 3


def test_a_run_that_lost_something_has_no_figures() -> None:
    must_equal(3, 3, "jobs")
    with pytest.raises(Unequal, match="jobs: 2 were found where 3 were expected"):
        must_equal(2, 3, "jobs")


def test_a_drawing_has_a_line_for_each_name_within_its_frame() -> None:
    curves = Curves(
        "x.svg", "t < u", "jobs", "µs", {"a": [(10, 1), (1000, 3.5)], "b": [(10, 1), (1000, 3.4)]}
    )
    root = ET.fromstring(plots.draw(curves))  # noqa: S314  our own
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    for line in lines:
        for point in line.attrib["points"].split(" "):
            x, y = (float(part) for part in point.split(","))
            assert 0 <= x <= plots.WIDTH
            assert 0 <= y <= plots.HEIGHT


#: What the environments of the peers install.
_INSTALLED = {
    *("arq", "celery", "fastapi", "httpx", "minio", "pydantic", "redis", "taskiq", "taskiq_redis")
}


def test_the_programs_of_peers_import_only_what_exists() -> None:
    own = {file.stem for file in PROGRAMS.glob("*.py")}
    known = own | _INSTALLED | sys.stdlib_module_names
    imported = {
        (file.name, module)
        for file in PROGRAMS.glob("*.py")
        for module in _imported(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert {(name, module) for name, module in imported if module not in known} == set()


def _imported(program: ast.Module) -> Iterator[str]:
    for node in ast.walk(program):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
