"""The arguments of a row: a directory for its servers' data, rounds, and a reporter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.interleave import Contender, Rounds, interleave


@dataclass(frozen=True)
class Run:
    """One row's run."""

    directory: Path
    rounds: int
    say: Callable[[str], None]

    def interleave(self, contenders: Mapping[str, Contender]) -> Rounds:
        """Let contenders take turns."""
        return interleave(contenders, rounds=self.rounds, say=self.say)
