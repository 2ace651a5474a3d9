"""A row of a file of prompts as it is written, before it is checked as a whole."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from darkroom.bulk.faults import LineFault

#: Integers with more digits are not read: no parameter is as large, and reading them takes long.
_DIGITS_MAX = 30


class Row(NamedTuple):
    """What one line says, and what is wrong with it; lines are counted from 1.

    `values` is None where the line could not be read at all.
    """

    number: int
    values: Mapping[str, Any] | None
    faults: Sequence[LineFault]


def read_json(text: str) -> dict[str, Any]:
    """Read a JSON object; raises ValueError that says what is wrong.

    NaN and infinities are read, so that they can be named by their place.
    """
    try:
        value = json.loads(text, object_pairs_hook=_members, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004  what was written, not a type
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
