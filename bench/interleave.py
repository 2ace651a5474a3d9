"""Let contenders take turns, so that other load on the machine affects all of them."""

from collections.abc import Callable, Mapping
from statistics import median

#: Measures once; returns its figures by name.
Contender = Callable[[], Mapping[str, float]]


class Rounds:
    """The figures of each contender, one value per round."""

    def __init__(self, found: Mapping[str, list[Mapping[str, float]]]) -> None:
        """Hold the figures by contender."""
        self._found = found

    def of(self, contender: str, figure: str) -> list[float]:
        """Return one figure of one contender, one value per round."""
        return [one[figure] for one in self._found[contender]]

    def middle(self, contender: str, figure: str) -> float:
        """Return the median of one figure over the rounds."""
        return median(self.of(contender, figure))


def interleave(
    contenders: Mapping[str, Contender], *, rounds: int, say: Callable[[str], None]
) -> Rounds:
    """Let all take turns: A B C, C B A, A B C …; call `say` with each figure."""
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            figures = contenders[name]()
            found[name].append(figures)
            told = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items())
            say(f"  round {number + 1}, {name}: {told}")
    return Rounds(found)
