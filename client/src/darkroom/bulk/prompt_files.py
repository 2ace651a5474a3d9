"""Read files of prompts."""

import codecs
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.bodies import faults_in
from darkroom.bulk.faults import UNNAMED, LineFault, Source, refuse
from darkroom.bulk.row import ENTRY, Row, read_json
from darkroom.bulk.table import read_table
from darkroom.errors import UsageError
from darkroom.options import INTEGERS, KEY, KEY_FAULT, OBJECTS, job_body

#: UTF-32 first: its byte order mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENCODINGS = (
    "this is not UTF-8. The file may be in Windows-1252 (what Excel saves as plain CSV) or another "
    "encoding: save it as UTF-8."
)

_TAKEN = "this command sets it for each image: use another name"


@dataclass(frozen=True, slots=True)
class Line:
    """The request of one line; `number` counts the lines of its file from 1, `body` is a job's.

    `defaults` names what comes from the options of the command instead.
    """

    number: int
    body: Mapping[str, Any]
    defaults: frozenset[str] = frozenset()
    source: Source = UNNAMED


def read_lines(path: Path, defaults: Mapping[str, Any]) -> list[Line]:
    """Read a file of prompts by its extension; `defaults` are for all lines.

    `.txt` has a prompt per line; `.csv` a header line with the columns, `prompt` and parameters;
    `.jsonl` an object per line, with `prompt` and the other members of `darkroom.JobOptions`. Blank
    lines are skipped. Raise UsageError, which names every fault by its line.
    """
    if path.suffix.lower() not in _READERS:
        raise UsageError(f"{path.name}: prompts are read from {', '.join(_READERS)}.")
    if _names_entry(defaults):
        raise UsageError(f"--metadata {ENTRY}: {_TAKEN}. Nothing was requested.")
    read, kind = _READERS[path.suffix.lower()]
    source = Source(path.name, kind)
    lines: list[Line] = []
    faults: list[LineFault] = []
    for row in read(_text(path)):
        found = [*row.faults, *_faults(row)]
        faults += found
        if not found:
            own = _merged(defaults, row)
            body = job_body(own.pop("prompt"), own)
            lines.append(Line(row.number, body, frozenset(defaults.keys() - _names(row)), source))
    if faults:
        raise refuse(source, faults)
    if not lines:
        raise UsageError(f"{path} has no prompt in it.")
    return lines


def _text(path: Path) -> str:
    """Read a file as Unicode; raise UsageError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from None
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
        raise UsageError(f"{path.name}, line {line}: {_ENCODINGS} Nothing was requested.") from None
    if "\0" in text:
        raise UsageError(
            f"{path.name} is not text (is it UTF-16 without a byte order mark?): save it as UTF-8."
        )
    return text


def _faults(row: Row) -> Iterator[LineFault]:
    """Yield the faults of a row's values, for all kinds of files."""
    if row.values is None:
        return
    for fault in faults_in(row.values):
        yield LineFault(row.number, fault.pointer.removeprefix("/"), fault.message)
    for name, message in _misplaced(row.values):
        yield LineFault(row.number, name, message)
    prompt = row.values.get("prompt")
    if prompt is None or (isinstance(prompt, str) and not prompt.strip()):
        yield LineFault(row.number, "", "there is no prompt")
    elif not isinstance(prompt, str):
        yield LineFault(row.number, "prompt", "must be text")


def _names_entry(values: Mapping[str, Any]) -> bool:
    metadata = values.get("metadata")
    return isinstance(metadata, Mapping) and ENTRY in metadata


def _misplaced(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the members that are of the wrong kind, or may not stand where they are."""
    for name in sorted(OBJECTS & values.keys()):
        if not isinstance(values[name], Mapping | None):
            yield name, "must be an object"
    if values.get(KEY) is not None:
        yield KEY, KEY_FAULT
    within = values.get("input")
    if doubled := sorted(values.keys() & within.keys()) if isinstance(within, Mapping) else []:
        names = ", ".join(f"`{name}`" for name in doubled)
        yield "", f"{names} given both in `input` and beside it"
    if _names_entry(values):
        yield f"metadata/{ENTRY}", _TAKEN


def _merged(defaults: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Return the values of a row, with the options and parameters that it does not name."""
    own, names = row.values or {}, _names(row)
    given = defaults.get("input") or {}
    parameters = {name: value for name, value in given.items() if name not in names}
    options = {name: value for name, value in defaults.items() if name not in names}
    return {**options, **own, "input": {**parameters, **(own.get("input") or {})}}


def _names(row: Row) -> set[str]:
    """Return the parameters that a row names, next to its input or in it."""
    values = row.values or {}
    return {*values, *(values.get("input") or {})}


def _prompts(text: str) -> Iterator[Row]:
    for number, line in _lines(text):
        yield Row(number, {"prompt": line.strip()}, ())


def _objects(text: str) -> Iterator[Row]:
    for number, line in _lines(text):
        try:
            yield Row(number, _plain(read_json(line)), ())
        except ValueError as error:
            yield Row(number, None, [LineFault(number, "", str(error))])


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank; lines end with LF, CRLF or CR only."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line.rstrip("\n")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Convert an object to the form of JobOptions; it may have the form of an API job."""
    within = row.get("input")
    if not isinstance(within, dict):
        return _with_integers(row)
    if "prompt" in within and "prompt" not in row:
        prompt, within = within["prompt"], {n: v for n, v in within.items() if n != "prompt"}
        row = {**row, "prompt": prompt}
    return {**_with_integers(row), "input": _with_integers(within)}


def _with_integers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert 7.0 to 7 for integer parameters."""
    return {
        name: int(value)
        if name in INTEGERS and isinstance(value, float) and value.is_integer()
        else value
        for name, value in row.items()
    }


#: The reader of each kind of file, and the word for its values in faults.
_READERS: Mapping[str, tuple[Callable[[str], Iterator[Row]], str]] = {
    ".txt": (_prompts, ""),
    ".csv": (read_table, "column"),
    ".tsv": (read_table, "column"),
    ".jsonl": (_objects, "member"),
    ".ndjson": (_objects, "member"),
}
