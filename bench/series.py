"""A cost as work grows: the points of a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: How much work there is, and what it costs then.
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curves:
    """One plot: lines by name, over the amount of work. `file` is its name in `docs/`."""

    file: str
    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[Point]]
