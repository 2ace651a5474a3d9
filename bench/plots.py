"""Plots of costs as plain SVG: work on a logarithmic x axis, cost on a y axis from zero.

The files are small and equal for equal figures, so a diff of the page shows what changed.
"""

import math
from collections.abc import Iterator
from html import escape
from itertools import cycle

from bench.series import Curves, Point

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 36, 44
_COLOURS = ("#b3261e", "#1b5e9b", "#2e7d32", "#8e5bb5", "#8a6d00")


def draw(curves: Curves) -> str:
    """Draw the lines; return the SVG document."""
    return "\n".join((*_frame(curves), *_lines(curves), "</svg>", ""))


def _frame(curves: Curves) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield _text(LEFT, 20, curves.title, "start", size=14)
    scale = _Scale(curves)
    for value in scale.steps_up():
        y = scale.y(value)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
        yield _text(LEFT - 6, y + 4, f"{value:,g}", "end")
    for value in scale.steps_across():
        x = scale.x(value)
        yield f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eeeeee"/>'
        yield _text(x, HEIGHT - BOTTOM + 16, f"{value:,.0f}", "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, curves.across, "middle")
    yield _text(14, HEIGHT / 2, curves.up, "middle", turned=True)


def _lines(curves: Curves) -> Iterator[str]:
    scale = _Scale(curves)
    ends: list[float] = []
    for (name, points), colour in zip(curves.lines.items(), cycle(_COLOURS), strict=False):
        places = [(scale.x(across), scale.y(up)) for across, up in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        ends.append(_spaced(places[-1][1], ends))
        yield _text(WIDTH - RIGHT + 8, ends[-1] + 4, name, "start", colour=colour)


def _spaced(y: float, others: list[float]) -> float:
    """Move a label down until it overlaps no other."""
    while any(abs(y - other) < 14 for other in others):
        y += 2
    return y


class _Scale:
    def __init__(self, curves: Curves) -> None:
        points: list[Point] = [point for line in curves.lines.values() for point in line]
        self._least = math.log10(min(across for across, _ in points))
        self._most = max(math.log10(max(across for across, _ in points)), self._least + 0.1)
        self._top = _round_up(max(up for _, up in points))

    def x(self, across: float) -> float:
        share = (math.log10(across) - self._least) / (self._most - self._least)
        return LEFT + share * (WIDTH - RIGHT - LEFT)

    def y(self, up: float) -> float:
        return HEIGHT - BOTTOM - up / self._top * (HEIGHT - BOTTOM - TOP)

    def steps_up(self) -> list[float]:
        return [self._top * part / 4 for part in range(5)]

    def steps_across(self) -> list[float]:
        return [10.0**power for power in range(math.ceil(self._least), int(self._most + 0.01) + 1)]


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 8 times a power of ten, whose quarters read well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


def _text(
    x: float,
    y: float,
    words: str,
    anchor: str,
    *,
    size: int = 12,
    colour: str = "#333333",
    turned: bool = False,
) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}"{turn}>{escape(words)}</text>'
    )
