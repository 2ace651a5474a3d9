"""The audit log of operator actions."""

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded action: `at` in milliseconds since 1970, `detail` is what changed."""

    id: str
    at: int
    by: str
    request_id: str
    action: str
    target: str
    detail: Mapping[str, Any]


def read_audit(*, before: str | None = None, limit: int) -> Command[tuple[Entry, ...]]:
    """Read the operator actions, newest first, older than the entry `before`."""
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
