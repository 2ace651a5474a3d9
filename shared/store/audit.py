"""The audit log of operator actions."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command

#: An entry moves to the history this long after it was recorded.
SETTLE_MS = 60_000
#: Entries that one request scans in Redis; a selective filter gives a short page.
SCAN_LIMIT = 1000
#: Filters of jobs by words of their prompts: as the API and as the store call them.
_WORDS = ("q", "words")
_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class AuditContext:
    """Who acts (a key's id, or `cli:<user>`), and in which request.

    The operation records it in the same step as the change; `dedup_token` makes it safe to repeat.
    """

    by: str
    request_id: str
    dedup_token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def args(self) -> tuple[str, str, str]:
        """Return the first three arguments of an audited operation."""
        return (self.dedup_token, self.by, self.request_id)


@dataclass(frozen=True, slots=True, order=True)
class EntryId:
    """The id of an entry: its time in milliseconds since 1970, and its number within that."""

    at: int
    number: int

    def __str__(self) -> str:
        """Return the id as Redis writes it."""
        return f"{self.at}-{self.number}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded action: `detail` is what changed."""

    id: EntryId
    by: str
    request_id: str
    action: str
    target: str
    detail: Mapping[str, Any]

    @property
    def at(self) -> int:
        """When it was, in milliseconds since 1970."""
        return self.id.at


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to list, newest first: None is any; times in milliseconds, exclusive.

    `below` is where the page before ended.
    """

    action: str | None = None
    target: str | None = None
    by: str | None = None
    after: int | None = None
    before: int | None = None
    below: EntryId | None = None

    @property
    def is_selective(self) -> bool:
        """Whether entries within the times may not match."""
        return any((self.action, self.target, self.by))

    @property
    def end(self) -> EntryId | None:
        """The id below which all are; None: there is no bound."""
        before = None if self.before is None else EntryId(max(self.before, 0), 0)
        return min(filter(None, (before, self.below)), default=None)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first, and the id to continue below, None at the end."""

    entries: tuple[Entry, ...]
    below: EntryId | None


_ANY = AuditFilter()


def audited_filter(given: Mapping[str, Any]) -> str:
    """Write a filter of jobs for the audit: that it has words of prompts, but not which."""
    shown = {name: value for name, value in given.items() if name not in _WORDS}
    if len(shown) < len(given):
        shown["q"] = True
    return orjson.dumps(shown).decode()


def parse_entry_id(text: str) -> EntryId | None:
    """Parse the id of an entry; None if it is none."""
    found = _ID.fullmatch(text)
    return EntryId(int(found[1]), int(found[2])) if found else None


def read_audit(wanted: AuditFilter = _ANY, *, limit: int) -> Command[AuditPage]:
    """List entries in Redis; a page may be short and still have a next one."""
    end = wanted.end
    operation = operations.ReadAudit(
        upper="+" if end is None else f"({end}" if end > EntryId(0, 0) else "0-0",
        lower="-" if wanted.after is None else str(max(wanted.after + 1, 0)),
        action=wanted.action or "",
        target=wanted.target or "",
        by=wanted.by or "",
        limit=limit,
        scan_limit=SCAN_LIMIT if wanted.is_selective else limit + 1,
    )
    return Command(operation, _page)


def archivable_audit(*, most: int, settle_ms: int = SETTLE_MS) -> Command[tuple[Entry, ...]]:
    """Return the oldest entries that are to move to the history: those older than `settle_ms`."""
    return Command(operations.ArchivableAudit(settle_ms, most), _entries)


def unlogged_audit(*, most: int, turn: float) -> Command[tuple[Entry, ...]]:
    """Return the oldest entries not logged yet; other processes get none for `turn` seconds."""
    return Command(operations.UnloggedAudit(most, turn * 1000), _entries)


def record_logged_audit(last: EntryId) -> Command[None]:
    """Record that all entries up to this one are logged."""
    return Command(operations.RecordLoggedAudit(str(last)), lambda _: None)


def remove_archived_audit(entries: Sequence[Entry]) -> Command[int]:
    """Remove entries that the history has; return how many."""
    ids = tuple(str(entry.id) for entry in entries)
    return Command(operations.RemoveArchivedAudit(ids), int)


def _page(reply: Sequence[Any]) -> AuditPage:
    found, below = reply
    return AuditPage(_entries(found), parse_entry_id(below))


def _entries(reply: Sequence[Any]) -> tuple[Entry, ...]:
    return tuple(_entry(entry_id, pairs(fields)) for entry_id, fields in reply)


def _entry(entry_id: str, fields: Mapping[str, str]) -> Entry:
    at, _, number = entry_id.partition("-")
    return Entry(
        id=EntryId(int(at), int(number)),
        by=fields["by"],
        request_id=fields["request"],
        action=fields["action"],
        target=fields["target"],
        detail=_detail(fields["detail"]),
    )


def _detail(text: str) -> Mapping[str, Any]:
    """Parse what changed; text that is no JSON object is `unreadable`, and holds up no others."""
    try:
        detail = orjson.loads(text)
    except orjson.JSONDecodeError:
        detail = None
    return detail if isinstance(detail, dict) else {"unreadable": text}
