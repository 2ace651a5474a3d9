"""Split a JSON object incrementally into the entries of `jobs` and its other members.

Values are cut out without being parsed: each is later checked like the body of a single job, in
exactly the text that was sent.
"""

import re
from types import TracebackType
from typing import Self

from pydantic_core import from_json

from api.batches.ndjson_parser import Unreadable, check_length, too_many
from api.batches.spool import Spool
from api.json_body import BOM, encoding_fault, unreadable
from api.problems import FieldError
from shared.batches import JOBS_MAX

_BLANK = b" \t\r\n"
_JOBS = "jobs"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
#: Skips text up to the next relevant character of a nesting level, or up to the end of a string.
_TOP = re.compile(rb'(?:[^"{}\[\],:]++|' + _STRING + rb")*+", re.DOTALL)
_DEEP = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+", re.DOTALL)
#: An entry without lists that nests objects one level, as `input` does, and the comma after it.
#: Most entries are like that, and are cut out in one step instead of one per bracket.
_ENTRY = re.compile(
    rb'([ \t\r\n]*+\{(?:[^"{}\[\]]++|'
    + _STRING
    + rb"|\{"
    + _DEEP.pattern
    + rb"\})*+\}[ \t\r\n]*+),",
    re.DOTALL,
)
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_GOES_ON = "there is text after its end"
_CLOSED_WRONGLY = "a list or an object is closed by the wrong bracket"


class JsonBatchParser:
    """Split one JSON object into the entries of `jobs` and its other members.

    Options of the batch may follow `jobs`, so the entries are kept until the end of the body.
    """

    def __init__(self, *, most_bytes: int) -> None:
        """Refuse entries and members over `most_bytes`, the limit of an NDJSON line."""
        self.names: set[str] = set()
        self.jobs: Spool | None = None
        self._most_bytes = most_bytes
        self._members: list[bytes] = []
        #: the text of the current name, value or entry
        self._text = bytearray()
        self._name: str | None = None
        self._depth = 0
        self._is_in_jobs = False
        self._is_in_string = False
        #: whether the last part ended with a backslash
        self._is_escaped = False
        self._is_begun = self._is_over = False

    def __enter__(self) -> Self:
        """Return the parser."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the stored jobs."""
        if self.jobs is not None:
            self.jobs.close()

    @property
    def members(self) -> bytes:
        """The object of all members except `jobs`, with unparsed values."""
        return b"{" + b",".join(self._members) + b"}"

    def feed(self, part: bytes) -> None:
        """Parse the next part of the body; raise Unreadable."""
        begin, at = 0, self._end_of_string(part, 0) if self._is_in_string else 0
        while at < len(part):
            at = _past(_TOP if self._depth <= self._cut_depth else _DEEP, part, at) + 1
            mark = part[at - 1 : at]
            if mark == b'"':
                at = self._end_of_string(part, at)
            elif mark and self._divides(mark):
                self._text += part[begin : at - 1]
                self._consume(mark)
                begin = at = self._consume_entries(part, at)
        self._text += part[begin:]
        check_length(self._text, self._most_bytes, *self._path)

    def _consume_entries(self, part: bytes, at: int) -> int:
        """Handle the entries from `at` on that match `_ENTRY`; return the end of the last."""
        if self._is_in_jobs and not self._text:
            while found := _ENTRY.match(part, at):
                self._text += found[1]
                self._end_entry()
                at = found.end()
        return at

    def _end_of_string(self, part: bytes, at: int) -> int:
        """Return the end of the string that contains `at`, or the end of the part."""
        if not part:
            return 0
        at = _past(_IN_STRING, part, at + self._is_escaped)
        rest = part[at : at + 1]
        self._is_in_string = rest != b'"'
        self._is_escaped = rest == b"\\"
        return len(part) if self._is_in_string else at + 1

    def close(self) -> None:
        """Check that the object is complete; raise Unreadable if it is not."""
        if not self._is_over:
            raise _broken("it has no end") if self._is_begun else self._no_object()
        if not self._is_blank:
            raise _broken(_GOES_ON)

    def _divides(self, mark: bytes) -> bool:
        """Track the nesting; return whether the character stands at the cutting depth."""
        if mark in b"}]":
            self._depth -= 1
        divides = self._depth <= self._cut_depth
        if mark in b"{[":
            self._depth += 1
        return divides

    def _consume(self, mark: bytes) -> None:
        """Handle a character at the cutting depth, and the text before it."""
        if not self._is_begun or self._is_over:
            self._begin(mark)
        elif self._is_in_jobs:
            self._consume_in_jobs(mark)
        elif mark == b":" and self._name is None:
            self._consume_name()
        elif mark == b"," or self._depth == 0:
            self._end_member(mark)
        elif self._name == _JOBS:
            self._begin_jobs(mark)
        else:
            self._text += mark

    def _begin(self, mark: bytes) -> None:
        if self._text.startswith(BOM):
            del self._text[: len(BOM)]
        if self._is_over:
            raise _broken(_GOES_ON)
        if mark != b"{" or not self._is_blank:
            raise self._no_object()
        self._is_begun = True
        self._text.clear()

    def _consume_name(self) -> None:
        try:
            name = from_json(bytes(self._text))
        except ValueError as error:
            raise Unreadable(unreadable(b"{%b:0}" % bytes(self._text), str(error))[0]) from None
        if not isinstance(name, str):
            raise _broken("a member has no name")
        if name in self.names:
            raise Unreadable(FieldError("", f"has the member {name[:100]} twice"))
        self.names.add(name)
        self._name = name
        self._text += b":"
        if name == _JOBS:
            self._text.clear()

    def _end_member(self, mark: bytes) -> None:
        is_last = self._depth == 0
        if is_last:
            self._is_over = True
            if mark != b"}":
                raise _broken(_CLOSED_WRONGLY)
        if self._name == _JOBS:
            self._end_jobs()
        elif self._name is not None:
            self._members.append(bytes(self._text))
        elif not is_last or self.names or not self._is_blank:  # anything except {}
            raise _broken("a member has no name or no value")
        self._name = None
        self._text.clear()

    def _begin_jobs(self, mark: bytes) -> None:
        if mark != b"[" or self.jobs is not None or not self._is_blank:
            raise _no_list()
        self.jobs = Spool()
        self._is_in_jobs = True
        self._text.clear()

    def _end_jobs(self) -> None:
        if self.jobs is None or not self._is_blank:
            raise _no_list()

    def _consume_in_jobs(self, mark: bytes) -> None:
        if self._depth == 1 and mark in b"}]":
            self._end_entry(is_last=True)
            self._is_in_jobs = False
            if mark != b"]":
                raise _broken(_CLOSED_WRONGLY)
        elif mark == b",":
            self._end_entry()
        else:
            self._text += mark

    def _end_entry(self, *, is_last: bool = False) -> None:
        jobs = self.jobs
        if jobs is None or (is_last and not jobs and self._is_blank):
            return
        if len(jobs) == JOBS_MAX:
            raise Unreadable(too_many("/jobs"))
        check_length(self._text, self._most_bytes, *self._path)
        jobs.append(bytes(self._text))
        self._text.clear()

    @property
    def _cut_depth(self) -> int:
        """The nesting depth at which values are cut out."""
        return 2 if self._is_in_jobs else 1

    @property
    def _is_blank(self) -> bool:
        return not self._text.strip(_BLANK)

    @property
    def _path(self) -> tuple[str | int, ...]:
        """The path of the value being read."""
        if self._is_in_jobs:
            return (_JOBS, len(self.jobs or ()))
        return () if self._name is None else (self._name[:100],)

    def _no_object(self) -> Unreadable:
        fault = encoding_fault(self._text)
        return Unreadable(fault or FieldError("", "must be an object"))


def _past(pattern: re.Pattern[bytes], part: bytes, at: int) -> int:
    found = pattern.match(part, at)
    return found.end() if found else at


def _broken(reason: str) -> Unreadable:
    return Unreadable(FieldError("", f"is not valid JSON: {reason}"))


def _no_list() -> Unreadable:
    return Unreadable(FieldError("/jobs", "must be a list"))
