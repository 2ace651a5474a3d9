"""Faults of a file of prompts, by line and column."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from darkroom.errors import UsageError

#: Further faults are only counted.
_SHOWN = 20
_LINES_SHOWN = 5


class LineFault(NamedTuple):
    """A fault; `name` is that of a column or member, empty for the whole line."""

    line: int
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file of prompts, and the word before a name in its faults (such as `column`)."""

    file: str = ""
    kind: str = ""

    def sentence(self, lines: Sequence[int], name: str, message: str) -> str:
        """Describe the faults of these lines."""
        numbers = ", ".join(map(str, lines[:_LINES_SHOWN]))
        more = f" and {len(lines) - _LINES_SHOWN:,} more" if len(lines) > _LINES_SHOWN else ""
        where = f"{'line' if len(lines) == 1 else 'lines'} {numbers}{more}"
        column = f"{self.kind} `{name}`".strip() if name and self.kind else name
        named = ", ".join(filter(None, (self.file, where, column)))
        return f"{named}: {message}" if message.endswith("?") else f"{named}: {message}."


#: The source of lines that come from no file.
UNNAMED = Source()


def refuse(
    source: Source, faults: Iterable[LineFault], others: Iterable[str] = (), *, created: int = 0
) -> UsageError:
    """Return the error that names every fault; `others` are sentences about no line.

    `created` jobs of earlier lines exist.
    """
    lines: dict[tuple[str, str], list[int]] = {}
    for fault in faults:
        lines.setdefault((fault.name, fault.message), []).append(fault.line)
    sentences = [*dict.fromkeys(others)]
    sentences += [source.sentence(at, name, message) for (name, message), at in lines.items()]
    if len(sentences) > _SHOWN:
        sentences = [*sentences[:_SHOWN], f"And {len(sentences) - _SHOWN:,} other faults."]
    end = (
        f"{created:,} images of the lines before were requested. Correct the file and repeat the "
        "command: it requests the others and saves all."
        if created
        else "Nothing was requested."
    )
    return UsageError("\n".join([*sentences, end]))
