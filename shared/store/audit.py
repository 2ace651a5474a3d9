"""What operators do: who, for which request, and the record of it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command


@dataclass(frozen=True, slots=True)
class AuditContext:
    """One write of an operator: by whom (a key's id, or `cli:<user>`) and for which request.

    The operation that makes the write records it in the same step; `dedup_token` makes it safe to
    send again.
    """

    by: str
    request_id: str
    dedup_token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def args(self) -> tuple[str, str, str]:
        """Return the first three arguments of an operation that writes for an operator."""
        return (self.dedup_token, self.by, self.request_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """One write that was made: `at` in milliseconds since 1970, `detail` what it changed."""

    id: str
    at: int
    by: str
    request_id: str
    action: str
    target: str
    detail: Mapping[str, Any]


def read_audit(*, before: str | None = None, limit: int) -> Command[tuple[Entry, ...]]:
    """Read what operators did, newest first, older than the entry `before`."""
    bound = f"({before}" if before else "+"
    return Command(operations.ReadAudit(bound, limit), _entries)


def _entries(reply: Sequence[Any]) -> tuple[Entry, ...]:
    return tuple(_entry(entry_id, pairs(fields)) for entry_id, fields in reply)


def _entry(entry_id: str, fields: Mapping[str, str]) -> Entry:
    return Entry(
        id=entry_id,
        at=int(entry_id.partition("-")[0]),
        by=fields["by"],
        request_id=fields["request"],
        action=fields["action"],
        target=fields["target"],
        detail=orjson.loads(fields["detail"]),
    )
