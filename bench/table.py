"""The table, for a terminal and for a page: one line per comparison."""

from collections.abc import Iterable, Sequence
from statistics import median

from bench.results import Goal, Line, Verdict

HEAD = ("#", "measure", "ours", "beside", "theirs", "ratio", "range", "at least", "aim", "reached")
_NONE = "–"  # noqa: RUF001  a dash
_SAID = {
    Verdict.AIM: "aim",
    Verdict.FLOOR: "at least",
    Verdict.NOT_AIM: "not the aim",
    Verdict.BELOW: "**no**",
    Verdict.NO_GOAL: _NONE,
}


def cells(line: Line) -> Sequence[str]:
    """Return a line's cells."""
    ratios = line.ratios
    return (
        str(line.row),
        line.what,
        _figure(line.ours, line.unit),
        line.peer or _NONE,
        _figure(line.theirs, line.unit) if line.theirs else _NONE,
        _number(line.ratio),
        f"{_number(min(ratios))} to {_number(max(ratios))}",
        _goal(line.goal, line.goal.floor if line.goal else None),
        _goal(line.goal, line.goal.aim if line.goal else None),
        _SAID[line.verdict],
    )


def markdown(lines: Iterable[Line]) -> str:
    """Return the table as Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD), *(cells(line) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(lines: Iterable[Line]) -> str:
    """Return the table for a terminal."""
    rows = [HEAD, *(tuple(cell.replace("*", "") for cell in cells(line)) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _figure(values: Sequence[float], unit: str) -> str:
    space = "" if unit.startswith("/") else " "
    return f"{_number(median(values))}{space}{unit}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _goal(goal: Goal | None, value: float | None) -> str:
    if goal is None or value is None:
        return _NONE
    return f"{'≤' if goal.at_most else '≥'} {value:g}"
