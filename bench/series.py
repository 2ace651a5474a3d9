"""A cost as work grows: points to be drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: How much work there is, and what it costs then.
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curves:
    """One drawing: lines by name, over how much work there is. `file` is its name in `docs/`."""

    file: str
    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[Point]]
