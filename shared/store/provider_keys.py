"""The provider keys that operators add while the service runs, and the state of all keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from shared.provider_keys import KeySource, ProviderKey
from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.codec import named, pairs
from shared.store.command import Command

#: How often workers read the stored keys: a key that was added is used within it.
REFRESH_SECONDS = 3.0
#: A worker's report counts for this long; workers repeat it every 15 s.
_REPORT_MS = 60_000


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A stored provider key; `sealed` is opened by `shared.sealing.Seal`."""

    id: str
    team: str
    label: str
    masked: str
    created_at: int
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyState:
    """A provider key as operators see it; `masked` is its end ('' if unknown).

    Times in milliseconds: `created_at` is None for a key of the environment, `seen_at` is when a
    worker last registered it. `is_unreadable`: a worker cannot open the stored key.
    """

    masked: str
    team: str
    dead_since: int | None = None
    source: KeySource = KeySource.ENVIRONMENT
    label: str = ""
    created_at: int | None = None
    seen_at: int | None = None
    paused_since: int | None = None
    is_unreadable: bool = False


def read_stored_keys() -> Command[tuple[StoredKey, ...]]:
    """Read the stored keys, oldest first."""
    return Command(operations.ReadStoredKeys(), stored_keys)


def stored_keys(reply: Sequence[str]) -> tuple[StoredKey, ...]:
    """Parse the stored keys: id, record as JSON, ..."""
    found = (_stored_key(key_id, orjson.loads(text)) for key_id, text in pairs(reply).items())
    return tuple(sorted(found, key=lambda key: (key.created_at, key.id)))


def _stored_key(key_id: str, record: Mapping[str, Any]) -> StoredKey:
    names = ("team", "label", "masked", "created_at", "sealed")
    return StoredKey(id=key_id, **{name: record[name] for name in names})


def add_provider_key(
    audit_context: AuditContext, key: ProviderKey, sealed: str, changes: Mapping[str, str]
) -> Command[bool]:
    """Store a key, or seal a stored one again, with the changes of `team` and `label`.

    Return whether it was not stored before.
    """
    operation = operations.AddProviderKey(
        *audit_context.args, key.id, key.masked, sealed, orjson.dumps(dict(changes)).decode()
    )
    return Command(operation, lambda reply: reply[1] == "1")


def reseal_provider_key(audit_context: AuditContext, key: StoredKey, sealed: str) -> Command[bool]:
    """Replace the sealed text of a stored key.

    Return whether the key was still stored as it was read.
    """
    operation = operations.ResealProviderKey(*audit_context.args, key.id, key.sealed, sealed)
    return Command(operation, lambda reply: reply[0] == "ok")


Removal = Literal["ok", "unknown", "environment"]


def remove_provider_key(audit_context: AuditContext, key_id: str) -> Command[Removal]:
    """Remove a stored key: no further call is made with it.

    Return why it was not, if it was not: no such key, or workers have it in their environment.
    """
    operation = operations.RemoveProviderKey(*audit_context.args, key_id)
    return Command(operation, lambda reply: reply[0])


def key_states(
    gate: Mapping[str, str], stored: Sequence[StoredKey], now_ms: int
) -> dict[str, KeyState]:
    """Return the state of every key that is stored, was registered by a worker, or was rejected."""
    of_id = {key.id: key for key in stored}
    registered = named(gate, "key")
    dead = named(gate, "dead").keys() - named(gate, "removed").keys()
    ids = sorted({*of_id, *registered, *dead})
    return {key_id: _state(key_id, gate, of_id.get(key_id), now_ms) for key_id in ids}


def _state(key_id: str, gate: Mapping[str, str], stored: StoredKey | None, now_ms: int) -> KeyState:
    masked, team, seen = gate.get(f"key:{key_id}", f" {key_id} ").split(" ")
    of_environment = stored is None or _is_recent(gate, f"environment:{key_id}", now_ms)
    return KeyState(
        masked=stored.masked if stored else masked,
        team=stored.team if stored and not of_environment else team,
        dead_since=_time(gate, f"dead:{key_id}"),
        source=KeySource.ENVIRONMENT if of_environment else KeySource.STORED,
        label=stored.label if stored else "",
        created_at=stored.created_at if stored else None,
        seen_at=int(seen) if seen else None,
        paused_since=_time(gate, f"paused:key:{key_id}"),
        is_unreadable=bool(stored) and _is_recent(gate, f"unreadable:{key_id}", now_ms),
    )


def _time(gate: Mapping[str, str], name: str) -> int | None:
    return int(gate[name]) if name in gate else None


def _is_recent(gate: Mapping[str, str], name: str, now_ms: int) -> bool:
    at = _time(gate, name)
    return at is not None and now_ms - at < _REPORT_MS
