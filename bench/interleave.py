"""Contenders take turns, round by round: what else the machine does meets all of them."""

from collections.abc import Callable, Mapping
from statistics import median

#: Measures once; gives its figures by name.
Contender = Callable[[], Mapping[str, float]]


class Rounds:
    """The figures of each contender, a value a round."""

    def __init__(self, found: Mapping[str, list[Mapping[str, float]]]) -> None:
        """Take the figures by contender."""
        self._found = found

    def of(self, contender: str, figure: str) -> list[float]:
        """Give one figure of one contender, a value a round."""
        return [one[figure] for one in self._found[contender]]

    def middle(self, contender: str, figure: str) -> float:
        """Give the middle of one figure over the rounds."""
        return median(self.of(contender, figure))


def interleave(
    contenders: Mapping[str, Contender], *, rounds: int, say: Callable[[str], None]
) -> Rounds:
    """Let all take turns: A B C, C B A, A B C …; `say` is told each figure as it comes."""
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            figures = contenders[name]()
            found[name].append(figures)
            told = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items())
            say(f"  round {number + 1}, {name}: {told}")
    return Rounds(found)
