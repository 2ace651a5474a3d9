"""Counts of ended runs by tenant and day: what usage reports are made of.

A day is in Redis for 100 days, and in the history from soon after its end on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from shared.store import operations
from shared.store.codec import pairs, tags_text
from shared.store.command import Command
from shared.store.functions import CREDIT_PARTS

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
_NO_KEY = "-"
_SIZE = "combinations"
#: A day is written to the history this long after its end.
SETTLE_MS = 600_000


def date_of(day: int) -> date:
    """Return the date of a day since 1970."""
    return _EPOCH + timedelta(days=day)


def day_of(when: date) -> int:
    """Return the day since 1970 of a date."""
    return (when - _EPOCH).days


def day_at(milliseconds: int) -> int:
    """Return the day since 1970 (UTC) of a time."""
    return milliseconds // DAY_MS


@dataclass(slots=True)
class Sums:
    """Ended runs, their calls that may have been billed, and the credits of these in millionths."""

    jobs: int = 0
    calls: int = 0
    credit_parts: int = 0

    def add(self, other: "Sums") -> None:
        """Add others."""
        self.jobs += other.jobs
        self.calls += other.calls
        self.credit_parts += other.credit_parts

    @property
    def credits(self) -> float:
        """The estimated credits."""
        return self.credit_parts / CREDIT_PARTS


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs are counted by. `key` is the id of the API key, '' if it is not known."""

    tenant: str
    day: int
    status: str
    model: str
    key: str
    tags: tuple[str, ...]


class UsageColumn(StrEnum):
    """What usage can be summed up by: columns of the history's table."""

    TENANT = "tenant"
    DAY = "day"
    STATUS = "status"
    MODEL = "model"
    KEY = "key"
    TAGS = "tags"


def usage_value(kind: Kind, column: UsageColumn) -> str | int:
    """Return the value of a column as the history has it."""
    if column is UsageColumn.TAGS:
        return tags_text(kind.tags)
    value: str | int = getattr(kind, column.value)
    return value


@dataclass(frozen=True, slots=True)
class CountedDays:
    """What Redis has at `now_ms`: names of run counts, and the first day that it has whole."""

    now_ms: int
    first_day: int
    names: tuple[str, ...]


def list_run_counts(tenant: str, *, first: int, last: int) -> Command[CountedDays]:
    """List the run counts of a tenant ('' for all) from one day to another, both included."""

    def read(reply: Sequence[str]) -> CountedDays:
        now, first_day, *names = reply
        return CountedDays(int(now), int(first_day), tuple(names))

    return Command(operations.ListRunCounts(tenant, first, last), read)


def read_run_counts(names: Sequence[str]) -> Command[list[tuple[Kind, Sums]]]:
    """Read run counts by their names; those that have expired have no rows."""

    def read(reply: Sequence[Sequence[str]]) -> list[tuple[Kind, Sums]]:
        return _rows(names, reply)

    return Command(operations.ReadRunCounts(tuple(names)), read)


@dataclass(frozen=True, slots=True)
class Unwritten:
    """Run counts of days that are over and not in the history yet, with their names."""

    names: tuple[str, ...]
    rows: list[tuple[Kind, Sums]]


def unwritten_run_counts(*, most: int) -> Command[Unwritten]:
    """Read the next run counts to write to the history."""

    def read(reply: Sequence[Any]) -> Unwritten:
        names, fields = reply
        return Unwritten(tuple(names), _rows(names, fields))

    return Command(operations.UnwrittenRunCounts(SETTLE_MS, most), read)


def record_written_run_counts(names: Sequence[str]) -> Command[None]:
    """Record that the history has these run counts."""
    return Command(operations.RecordWrittenRunCounts(tuple(names)), lambda _: None)


def _rows(names: Sequence[str], replies: Sequence[Sequence[str]]) -> list[tuple[Kind, Sums]]:
    """Return one row of each kind, whatever the order in which its tags were written."""
    found: dict[Kind, Sums] = {}
    for name, flat in zip(names, replies, strict=True):
        day, tenant = name.split(" ", 1)
        for field, value in pairs(flat).items():
            if field == _SIZE:
                continue
            status, model, key, lines = field.split(" ", 3)
            tags = tuple(sorted(filter(None, lines.split("\n"))))
            kind = Kind(tenant, int(day), status, model, "" if key == _NO_KEY else key, tags)
            found.setdefault(kind, Sums()).add(Sums(*map(int, value.split(" "))))
    return [*found.items()]
