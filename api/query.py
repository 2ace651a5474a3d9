"""Reading the query of an address: unknown and doubled names are refused, every fault is named."""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from starlette.requests import Request

from api.problems import FieldError, invalid, pointer

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Reader = Callable[[str], T]

#: A time of RFC 3339: its date and time to the minute, its seconds, and its offset.
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2})"
    r"(?::([0-9]{2})(?:\.([0-9]{1,30}))?)?([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP_SECOND = "60"
_MILLISECOND = timedelta(milliseconds=1)
TEXT_CHARACTERS = 200


class Query:
    """The parameters of one request. Ask for each by name, then `done` raises what was wrong."""

    def __init__(self, request: Request) -> None:
        """Take the request's query apart."""
        self._left: dict[str, str] = {}
        self._names: list[str] = []
        self._faults: list[FieldError] = []
        self._twice: set[str] = set()
        for name, value in request.query_params.multi_items():
            if name in self._left:
                self._twice.add(name)
            self._left[name] = value

    def take(self, name: str, read: Reader[T]) -> T | None:
        """Give a parameter as `read` reads it (ValueError: not usable), None where it is not."""
        self._names.append(name)
        written = self._left.pop(name, None)
        if written is None:
            return None
        self._refuse_second(name)
        try:
            return read(written)
        except ValueError as error:
            self.refuse(name, str(error))
            return None

    def refuse(self, name: str, message: str) -> None:
        """Note a fault."""
        self._faults.append(FieldError(pointer("query", name), message))

    def _refuse_second(self, name: str) -> None:
        if name in self._twice:
            self.refuse(name, "is given twice")

    def done(self, *, others: bool = False) -> None:
        """Raise a problem if anything was wrong, or was not asked for; `others` are ignored."""
        names = ", ".join(self._names) or "none"
        for name in () if others else self._left:
            self._refuse_second(name)
            self.refuse(name, f"is not known here; known: {names}")
        if self._faults:
            raise invalid(self._faults)


def integer(least: int, most: int) -> Reader[int]:
    """Read a whole number of a range."""

    def read(written: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", written) or not least <= int(written) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(written)

    return read


def enum_member(members: type[E]) -> Reader[E]:
    """Read one word of a closed list."""

    def read(written: str) -> E:
        try:
            return members(written)
        except ValueError:
            names = ", ".join(member.value for member in members)
            raise ValueError(f"must be one of: {names}") from None

    return read


def text(written: str) -> str:
    """Read any text that is not empty nor very long."""
    if not 0 < len(written) <= TEXT_CHARACTERS:
        raise ValueError(f"must have 1 to {TEXT_CHARACTERS} characters")
    return written


def milliseconds(written: str) -> int:
    """Read an RFC 3339 time as milliseconds since 1970; finer digits are cut.

    A `+` that became a space is taken, and so is a leap second, as the second before it.
    """
    found = _MOMENT.fullmatch(written)
    try:
        if found:
            return _milliseconds(*found.groups())
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time such as 2026-01-31T12:00:00Z")


def _milliseconds(minute: str, seconds: str | None, fraction: str | None, offset: str) -> int:
    is_leap = seconds == _LEAP_SECOND
    seconds = "59" if is_leap else seconds or "00"
    zone = offset.upper().replace(" ", "+")
    moment = datetime.fromisoformat(f"{minute.replace('t', 'T')}:{seconds}{zone}")
    if is_leap and moment.astimezone(UTC).strftime("%H:%M") != "23:59":
        raise ValueError
    return (moment - _EPOCH) // _MILLISECOND + int(f"{fraction or '':0<3.3}")


def encode_cursor(cursor: str) -> str:
    """Write where a page ended as a cursor, so that nobody builds on what it is."""
    return base64.urlsafe_b64encode(cursor.encode()).rstrip(b"=").decode()


def decode_cursor(written: str) -> str:
    """Read a cursor; gives no text for what is none."""
    padded = written + "=" * (-len(written) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def flag(written: str) -> bool:
    """Read 1 or 0."""
    if written not in {"0", "1"}:
        raise ValueError("must be 1 or 0")
    return written == "1"


def cursor_of(is_one: Callable[[str], object]) -> Reader[str]:
    """Read a cursor of a list whose pages end in what `is_one` knows."""

    def read(written: str) -> str:
        last = decode_cursor(written)
        if not is_one(last):
            raise ValueError("is no cursor of this list")
        return last

    return read
