"""Takes bodies apart as they come: NDJSON by line, JSON by the entries of `jobs`."""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import ijson
from ijson.common import ObjectBuilder
from pydantic_core import to_json

from api.problems import Fault, pointer
from shared.batches import JOBS_MAX

#: Up to this size the jobs of a document wait for its end in memory.
SPOOL_MEMORY_BYTES = 256 * 1024
_ENDS = frozenset({"end_map", "end_array"})
_STARTS = frozenset({"start_map", "start_array"})


class Unreadable(Exception):
    """The body cannot be read on."""

    def __init__(self, fault: Fault) -> None:
        """Keep what is wrong, and where."""
        super().__init__(fault.message)
        self.fault = fault


class Lines:
    """Cuts a body into its lines, numbered from 1; empty ones are passed over."""

    def __init__(self, *, most_bytes: int) -> None:
        """Refuse a line of more than `most_bytes`: it would have to be kept whole."""
        self._most_bytes = most_bytes
        self._rest = b""
        self._number = 0

    def feed(self, part: bytes) -> Iterator[tuple[int, bytes]]:
        """Give the lines that end in this part; raises Unreadable."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            yield from self._next(line)
        self._check(self._rest, self._number + 1)

    def close(self) -> Iterator[tuple[int, bytes]]:
        """Give the last line, if no line break ended it."""
        yield from self._next(self._rest)

    def _next(self, line: bytes) -> Iterator[tuple[int, bytes]]:
        self._number += 1
        self._check(line, self._number)
        if not line.isspace() and line:
            yield self._number, line

    def _check(self, line: bytes, number: int) -> None:
        if len(line) > self._most_bytes:
            message = f"has more than {self._most_bytes:,} bytes"
            raise Unreadable(Fault(f"/line/{number}", message))


class Spool:
    """Keeps lines in a file from some size on, so that many large bodies do not fill the memory."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPOOL_MEMORY_BYTES)  # noqa: SIM115  closed by close
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """Give the lines in the order in which they came."""
        self._file.seek(0)
        return (line.rstrip(b"\n") for line in self._file)

    def append(self, line: bytes) -> None:
        """Add a line, in which there is no line break."""
        self._file.write(line + b"\n")
        self._count += 1

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Document:
    """Reads one JSON object: each entry of `jobs` as JSON again, its other members as values.

    What holds for all jobs may stand behind them, so that they wait for the end of the body.
    """

    def __init__(self, *, most_bytes: int) -> None:
        """Refuse an entry or a member of more than `most_bytes`: it has to be kept whole."""
        self._most_bytes = most_bytes
        self._open_bytes = 0
        self._read = 0
        self.members: dict[str, Any] = {}
        self.jobs: Spool | None = None
        self._events = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events, use_float=True)
        self._depth = 0
        self._key = ""
        self._value = ObjectBuilder()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the jobs."""
        if self.jobs is not None:
            self.jobs.close()

    def feed(self, part: bytes) -> None:
        """Read on; raises Unreadable."""
        if not part:  # would mean the end
            return
        try:
            self._parser.send(part)
        except ijson.JSONError as error:
            raise _no_json(error) from None
        read = self._read
        self._take_all()
        self._open_bytes = len(part) + (self._open_bytes if read == self._read else 0)
        if self._open_bytes > self._most_bytes + len(part):
            raise Unreadable(self._too_large())

    def _too_large(self) -> Fault:
        place = ("jobs", len(self.jobs or ())) if self._key == "jobs" else (self._key,)
        return Fault(pointer(*place), f"has more than {self._most_bytes:,} bytes")

    def close(self) -> None:
        """Find the end; raises Unreadable where there is none."""
        try:
            self._parser.close()
        except ijson.JSONError as error:
            raise _no_json(error) from None
        self._take_all()

    def _take_all(self) -> None:
        for event, value in self._events:
            if event in _ENDS:
                self._depth -= 1
            self._take(event, value)
            if event in _STARTS:
                self._depth += 1
        del self._events[:]

    def _take(self, event: str, value: object) -> None:
        if self._depth == 0:
            if event not in {"start_map", "end_map"}:
                raise Unreadable(Fault("", "must be an object"))
        elif self._depth == 1 and event == "map_key":
            self._begin(str(value))
        elif self._key == "jobs":
            self._take_job(event, value)
        else:
            self._value.event(event, value)
            if self._depth == 1 and event not in _STARTS:
                self.members[self._key] = self._value.value
                self._read += 1

    def _begin(self, key: str) -> None:
        if key in self.members or (key == "jobs" and self.jobs is not None):
            raise Unreadable(Fault("", f"has the member {key[:100]} twice"))
        self._key, self._value = key, ObjectBuilder()

    def _take_job(self, event: str, value: object) -> None:
        if self._depth == 1:
            if event == "start_array":
                self.jobs = Spool()
            elif event != "end_array":
                raise Unreadable(Fault("/jobs", "must be a list"))
            return
        self._value.event(event, value)
        if self._depth == 2 and event not in _STARTS:  # noqa: PLR2004  an entry has ended
            self._keep()

    def _keep(self) -> None:
        jobs = self.jobs
        if jobs is None:
            return
        if len(jobs) == JOBS_MAX:
            raise Unreadable(too_many("/jobs"))
        self._read += 1
        try:
            jobs.append(to_json(self._value.value))
        except ValueError:  # nested deeper than anything here means
            jobs.append(b"[]")
        self._value = ObjectBuilder()


def too_many(place: str) -> Fault:
    """Say that there are more jobs than one batch has."""
    return Fault(place, f"must have at most {JOBS_MAX:,} jobs")


def _no_json(error: Exception) -> Unreadable:
    reason = str(error).partition("\n")[0].removeprefix("b'")[:100]
    return Unreadable(Fault("", f"is not JSON that can be read: {reason}"))
