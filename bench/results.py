"""A row of the table: our figures, a peer's, and their ratio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from bench.series import Curves

#: Ours and theirs of one round, as the ratio that the goal speaks of.
Compare = Callable[[float, float], float]


def times(ours: float, theirs: float) -> float:
    """Return theirs ÷ ours, for figures that should be high, and for shares of a cost."""
    return ours / theirs


def less(ours: float, theirs: float) -> float:
    """Return theirs ÷ ours, for figures that should be low."""
    return theirs / ours


class Verdict(StrEnum):
    """How a ratio compares with its goal."""

    AIM = "aim"
    FLOOR = "at least"
    NOT_AIM = "not the aim"
    BELOW = "below"
    NO_GOAL = "no goal"


@dataclass(frozen=True, slots=True)
class Goal:
    """The least a ratio must be, and the aim beyond it; `at_most` reverses both.

    None if there is no such requirement.
    """

    floor: float | None
    aim: float | None
    at_most: bool = False

    def verdict(self, value: float) -> Verdict:
        """Judge a ratio."""
        if self._reached(value, self.aim):
            return Verdict.AIM
        if self._reached(value, self.floor):
            return Verdict.FLOOR
        return Verdict.NOT_AIM if self.floor is None else Verdict.BELOW

    def _reached(self, value: float, goal: float | None) -> bool:
        if goal is None:
            return False
        return value <= goal if self.at_most else value >= goal


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: `ours` beside `theirs`, one figure per round.

    Without a peer (`theirs` empty) the goal applies to our figure itself. Without a goal the line
    only informs.
    """

    row: int
    what: str
    unit: str
    ours: Sequence[float]
    goal: Goal | None
    peer: str = ""
    theirs: Sequence[float] = ()
    compare: Compare = times

    @property
    def ratios(self) -> list[float]:
        """Return the ratio of each round; our figures if there is no peer."""
        if not self.theirs:
            return list(self.ours)
        return [self.compare(*pair) for pair in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """Return the median ratio of all rounds."""
        return median(self.ratios)

    @property
    def verdict(self) -> Verdict:
        """How far it came."""
        return self.goal.verdict(self.ratio) if self.goal else Verdict.NO_GOAL


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one row: its lines, the checks, and further notes."""

    number: int
    title: str
    lines: Sequence[Line]
    #: what went in and came out, as a sentence: written only when it agreed
    checked: str
    notes: Sequence[str] = ()
    curves: Sequence[Curves] = ()


class Unequal(Exception):
    """The output does not match the input, so the run's figures mean nothing."""


def must_equal(found: object, expected: object, what: str) -> None:
    """Raise Unequal unless both are equal."""
    if found != expected:
        raise Unequal(f"{what}: {found} were found where {expected} were expected.")
