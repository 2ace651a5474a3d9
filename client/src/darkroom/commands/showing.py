"""How results are printed. They alone go to stdout; all else that is said goes to stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def say(sentence: str) -> None:
    """Tell people something that is no result."""
    sys.stderr.write(f"{sentence}\n")


def show_line(line: str) -> None:
    """Print one line of a result, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show_json(value: object, *, indent: int | None = 2) -> None:
    """Print a result as JSON."""
    show_line(json.dumps(value, ensure_ascii=False, indent=indent))


def show_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: a line for each of its members, or all of it as JSON."""
    if as_json:
        show_json(facts)
        return
    width = max(map(len, facts), default=0) + 2
    for name, value in facts.items():
        show_line(f"{name.replace('_', ' '):<{width}}{_word(value)}")


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print many things: a table of these columns, or everything as JSON."""
    found = list(rows)
    if as_json:
        show_json({"data": found})
        return
    lines = [[column.replace("_", " ") for column in columns]]
    lines += [[_word(row.get(column)) for column in columns] for row in found]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        show_line("  ".join(cells).rstrip())


def _word(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    # what others wrote must not steer a terminal
    return "".join(char if char.isprintable() else "?" for char in str(value))
