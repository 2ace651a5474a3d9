"""Read CSV tables of prompts: separator, columns, cells."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from darkroom.bulk.faults import LineFault
from darkroom.bulk.row import Row, read_json
from darkroom.options import INTEGERS, OBJECTS, YES_NO, JobOptions

#: Tried in this order: the first that makes `prompt` a column is the separator.
_SEPARATORS = ",;\t|"
#: The line that tells Excel the separator.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)
_COLUMNS = frozenset({"prompt", *JobOptions.__annotations__})
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

#: How many characters of a line are quoted.
_SHOWN = 80

_Record = tuple[int, list[str]]


def read_table(text: str) -> Iterator[Row]:
    """Yield the rows of a table; an unparsable one ends it with a fault."""
    separator_line = _SEPARATOR_LINE.match(text)
    separators = separator_line[1] if separator_line else _SEPARATORS
    body, before = (text[separator_line.end() :], 1) if separator_line else (text, 0)
    try:
        records, header = _open(body, before, separators)
        names = [_column(cell) for cell in header]
        doubled = _doubled(names, before + 1)
        if doubled:
            yield Row(before + 1, None, doubled)
        for number, cells in records:
            if any(cell.strip() for cell in cells):
                yield _row(number, names, cells)
    except _Broken as broken:
        yield Row(broken.fault.line, None, [broken.fault])


class _Broken(Exception):
    """The rest of the table cannot be parsed."""

    def __init__(self, fault: LineFault) -> None:
        super().__init__()
        self.fault = fault


def _open(text: str, before: int, separators: str) -> tuple[Iterator[_Record], list[str]]:
    """Return the records after the header, and its names; raise _Broken."""
    for separator in separators:
        records = _records(text, separator, before)
        header = _first(records)
        if "prompt" in map(_column, header):
            return records, header
    line = text.lstrip().partition("\n")[0].strip()[:_SHOWN]
    found = f"it is {line!r}" if line else "the file is empty"
    message = f"the first line must name the columns, including `prompt`; {found}"
    raise _Broken(LineFault(before + 1, "", message))


def _first(records: Iterator[_Record]) -> list[str]:
    """Return the first record that is not blank; none if another separator is right."""
    try:
        return next((cells for _, cells in records if any(cell.strip() for cell in cells)), [])
    except _Broken:
        return []


def _records(text: str, separator: str, before: int) -> Iterator[_Record]:
    """Yield the records, each with the number of its last line; raise _Broken.

    Lines end with LF, CRLF or CR only.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        first = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _Broken(LineFault(first, "", _broken(error))) from None
        if cells is None:
            return
        yield before + reader.line_num, cells


def _broken(error: csv.Error) -> str:
    if "field larger" in str(error):
        most = csv.field_size_limit()
        return f"a cell has more than {most:,} characters; perhaps a quote is never closed"
    return 'a quote (") is never closed, or appears in a quoted cell without being doubled'


def _column(cell: str) -> str:
    """Return the name of a column: known ones in any case, others as written."""
    plain = re.sub(r"[\s-]+", "_", cell.strip().lower())
    return plain if plain in _COLUMNS else cell.strip()


def _doubled(names: Sequence[str], line: int) -> list[LineFault]:
    counts = Counter(name for name in names if name)
    return [
        LineFault(line, name, "given more than once") for name, count in counts.items() if count > 1
    ]


def _row(number: int, names: Sequence[str], cells: Sequence[str]) -> Row:
    values: dict[str, object] = {}
    faults: list[LineFault] = []
    if any(cell.strip() for cell in cells[len(names) :]):
        faults.append(LineFault(number, "", "more cells than columns"))
    for column, (name, cell) in enumerate(zip(names, cells, strict=False), 1):
        if not cell.strip():
            continue
        if not name:
            faults.append(LineFault(number, "", f"cell {column} has no column name"))
            continue
        try:
            values[name] = _typed(name, cell.strip())
        except ValueError as error:
            faults.append(LineFault(number, name, str(error)))
    return Row(number, values, faults)


def _typed(name: str, cell: str) -> object:
    """Convert a cell to the type of its column; raise ValueError."""
    if name in YES_NO:
        if cell.lower() not in _BOOLEANS:
            raise ValueError("must be true or false")
        return _BOOLEANS[cell.lower()]
    if name in INTEGERS:
        integer = re.fullmatch(r"([+-]?[0-9]{1,30})(?:\.0*)?", cell)
        if not integer:
            raise ValueError("must be a whole number")
        return int(integer[1])
    if name == "tags" or (name == "fallback_models" and cell != "default"):
        return _list(cell)
    return read_json(cell) if name in OBJECTS else cell


def _list(cell: str) -> list[object]:
    """Return the members of a cell: `a, b`, or JSON, as scripts write a list."""
    if not cell.startswith(('["', "['")):
        return [one.strip() for one in cell.split(",")]
    try:
        value = json.loads(cell)
    except ValueError:
        raise ValueError('must be written a, b or ["a", "b"]') from None
    return list(value)
