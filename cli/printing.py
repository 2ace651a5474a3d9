"""Print what the commands of the service return: as lines, as a table, or as JSON."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import cyclopts

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="Print JSON.")]


def print_facts(facts: Mapping[str, Any], *, json: bool) -> None:
    """Print an object, one line per member."""
    if json:
        print_json(facts)
        return
    width = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        print_line(f"{name.replace('_', ' '):<{width}}{_text(value)}")


def print_table(rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], *, json: bool) -> None:
    """Print several objects, one line each; JSON has all of their members."""
    if json:
        print_json({"data": rows})
        return
    lines = [[column.replace("_", " ") for column in columns]]
    lines += [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print_line("  ".join(cells).rstrip())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_budget, value)) if _is_budgets(value) else " ".join(value) or "-"
    return "-" if value is None or value == "" else str(value)


def _is_budgets(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], dict)


def _budget(budget: Mapping[str, Any]) -> str:
    used = "?" if budget["used"] is None else f"{budget['used']:.10g}"
    return f"{used} of {budget['limit']:.10g} in this {budget['period']}"


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    import orjson  # noqa: PLC0415

    print_line(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_line(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
