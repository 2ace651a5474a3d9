"""Split NDJSON into lines as it arrives. No I/O here."""

from collections.abc import Iterator

from api.json_body import BOM, encoding_fault
from api.problems import FieldError, pointer
from shared.batches import JOBS_MAX


class Unreadable(Exception):
    """The body cannot be parsed further."""

    def __init__(self, fault: FieldError) -> None:
        """Take the message and the position."""
        super().__init__(fault.message)
        self.fault = fault


class NdjsonParser:
    """Split a body into lines, numbered from 1; empty lines are skipped."""

    def __init__(self, *, most_bytes: int) -> None:
        """Refuse lines over `most_bytes`, because a line must be kept in memory."""
        self._most_bytes = most_bytes
        self._rest = b""
        self._number = 0

    def feed(self, part: bytes) -> Iterator[tuple[int, bytes]]:
        """Return the lines completed by this part; raise Unreadable."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            yield from self._next(line)
        check_length(self._rest, self._most_bytes, "line", self._number + 1)

    def close(self) -> Iterator[tuple[int, bytes]]:
        """Return the last line if no line break ended it."""
        yield from self._next(self._rest)

    def _next(self, line: bytes) -> Iterator[tuple[int, bytes]]:
        self._number += 1
        check_length(line, self._most_bytes, "line", self._number)
        line = line.removeprefix(BOM)  # concatenated files contain byte order marks in the middle
        if self._number == 1 and (fault := encoding_fault(line)):
            raise Unreadable(fault)
        if not line.isspace() and line:
            yield self._number, line


def check_length(text: bytes | bytearray, most_bytes: int, *place: str | int) -> None:
    """Raise Unreadable for a part of a body that is too long."""
    if len(text) > most_bytes:
        raise Unreadable(FieldError(pointer(*place), f"has more than {most_bytes:,} bytes"))


def too_many(pointer: str) -> FieldError:
    """Return the error for a batch with too many jobs."""
    return FieldError(pointer, f"must have at most {JOBS_MAX:,} jobs")
