"""A row of a file of prompts, before validation."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from darkroom.bulk.faults import LineFault

#: The metadata by which the job of an entry is found again.
ENTRY = "entry"
#: Longer integers are not parsed: no parameter is that large, and parsing takes long.
_DIGITS_MAX = 30


class Row(NamedTuple):
    """The content of a line, and its faults; lines are counted from 1.

    `values` is None if the line could not be parsed.
    """

    number: int
    values: Mapping[str, Any] | None
    faults: Sequence[LineFault]


def read_json(text: str) -> dict[str, Any]:
    """Parse a JSON object; raise ValueError with the fault.

    NaN and infinities are parsed, so that they can be reported with their path.
    """
    try:
        value = json.loads(text, object_pairs_hook=_members, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004  a fault of the text, not of a type
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = dict.fromkeys(name for name in names if names.count(name) > 1)
        raise ValueError(f"{', '.join(f'`{name}`' for name in doubled)} given more than once")
    return members


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS_MAX else float("inf")
