"""Printing of results to stdout; everything else goes to stderr."""

import codecs
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO


def prepare_output() -> None:
    """Escape what the terminal's encoding cannot represent, so that no result is lost."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_notice(sentence: str) -> None:
    """Print a message for people on stderr, if it is open."""
    try:
        _write(sys.stderr, "".join(map(_shown, sentence)))
    except OSError:
        _discard(sys.stderr)


def show_line(line: str) -> None:
    """Print one line of a result, flushed; raise OSError if that fails."""
    try:
        _write(sys.stdout, line)
    except OSError:
        _discard(sys.stdout)
        raise


def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # None if the program was started with a closed stdout
        stream.write(f"{line}\n")
        stream.flush()


def _discard(stream: TextIO) -> None:
    """Redirect a stream to nowhere, so that the exit of the process does not fail on it."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError:
        return  # not a file


def show_json(value: object, *, indent: int | None = 2) -> None:
    """Print a result as JSON, which escapes what cannot be printed."""
    encoding = codecs.lookup((sys.stdout and sys.stdout.encoding) or "utf-8").name
    show_line(json.dumps(value, ensure_ascii=encoding != "utf-8", indent=indent))


def show_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one object: a line per member, or JSON."""
    if as_json:
        show_json(facts)
        return
    width = max(map(len, facts), default=0) + 2
    for name, value in facts.items():
        show_line(f"{name.replace('_', ' '):<{width}}{_text(value)}")


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print several objects: a table of these columns, or JSON."""
    found = list(rows)
    if as_json:
        show_json({"data": found})
        return
    lines = [[column.replace("_", " ") for column in columns]]
    lines += [[_text(row.get(column)) for column in columns] for row in found]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        show_line("  ".join(cells).rstrip())


def _text(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "".join(map(_shown, str(value).replace("\n", "?")))


def _shown(char: str) -> str:
    """Return a printable form of a character: text of others must not control the terminal."""
    return char if char.isprintable() or char == "\n" else "?"
