"""A file of prompts, read: what each line asks for."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.errors import BadWords
from darkroom.options import job_body

_WHOLE = frozenset({"output_quality", "num_inference_steps", "seed", "deadline_seconds"})
_YES_NO = frozenset({"go_fast", "disable_safety_checker", "reuse"})
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Line:
    """What one line asks for; `number` counts the lines of its file from 1, `body` is a job's."""

    number: int
    body: Mapping[str, Any]


def read_lines(path: Path, given: Mapping[str, Any]) -> list[Line]:
    """Read a file of prompts by its extension; `given` holds for lines that say nothing else.

    `.txt` has a prompt a line; `.csv` a first line that names the columns, `prompt` and parameters;
    `.jsonl` an object a line, with `prompt` and what else `darkroom.JobOptions` has. Blank lines
    are passed over. Raises BadWords, which names the line.
    """
    readers = {".txt": _text, ".csv": _table, ".jsonl": _objects, ".ndjson": _objects}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadWords(f"{path.name}: prompts are read from {', '.join(readers)}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadWords(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise BadWords(f"{path} cannot be read ({error}).") from None
    lines = [_line(path, number, {**given, **told}) for number, told in reader(path, text)]
    if not lines:
        raise BadWords(f"{path} has no prompt in it.")
    return lines


def _line(path: Path, number: int, told: dict[str, Any]) -> Line:
    prompt = told.pop("prompt", None)
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadWords(f"{path.name}, line {number}: there is no prompt.")
    return Line(number, job_body(prompt, told))


def _text(_: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, {"prompt": line.strip()}


def _table(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # a prompt may have line breaks in it, so that the reader says where it is
    reader = csv.DictReader(text.splitlines(keepends=True))
    if "prompt" not in (reader.fieldnames or ()):
        raise BadWords(f"{path.name}: the first line must name the columns, one of them `prompt`.")
    for row in reader:
        if None in row:
            raise BadWords(f"{path.name}, line {reader.line_num}: more cells than columns.")
        cells = {name: cell.strip() for name, cell in row.items() if cell and cell.strip()}
        if cells:
            number = reader.line_num
            yield number, {name: _typed(path, number, name, cells[name]) for name in cells}


def _typed(path: Path, number: int, name: str, cell: str) -> object:
    if name in _YES_NO and cell.lower() in _WORDS:
        return _WORDS[cell.lower()]
    if name == "tags":
        return [tag.strip() for tag in cell.split(",")]
    if name not in _WHOLE | _YES_NO:
        return cell
    try:
        return int(cell)
    except ValueError:
        kind = "a whole number" if name in _WHOLE else "true or false"
        raise BadWords(f"{path.name}, line {number}: {name} must be {kind}.") from None


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except ValueError as error:
            raise BadWords(f"{path.name}, line {number}: not JSON ({error}).") from None
        if not isinstance(told, dict):
            raise BadWords(f"{path.name}, line {number}: must be a JSON object.")
        # as the API writes a job, too
        if "prompt" not in told and isinstance(told.get("input"), dict):
            told = {**told, "prompt": told["input"].get("prompt")}
        yield number, told
