"""The API keys of tenants: create, list, rotate, revoke."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.api_keys import Key, Scope
from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.tenants import KeyState

#: An ended key is remembered this long, so that its holder learns what happened to it.
INACTIVE_KEY_MS = 30 * 86_400_000
#: Owns the keys of operators, which belong to no tenant; no tenant can have this name.
OPERATORS = "@operators"
#: Maximum number of keys of a tenant, including those that ended lately.
MOST_KEYS = 500
#: How long a replaced key stays valid by default.
GRACE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """A key without its secret; times in milliseconds, `used_at` to about a minute."""

    id: str
    state: KeyState
    scopes: tuple[Scope, ...]
    label: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRejected:
    """No key was created. `reason` is one of the words of `add_api_key.lua`.

    `missing`: no such tenant; `unknown`: no such key; `dead`: it is revoked or expired (`detail`);
    `replaced`: already, by the key `detail`; `past`: it would expire before it starts; `many`:
    there are `detail` keys already.
    """

    reason: str
    detail: str = ""


class StoredKey(NamedTuple):
    """A key as it is stored, without its secret."""

    id: str
    hash: str


def add_api_key(
    audit_context: AuditContext,
    tenant: str,
    key: Key | StoredKey,
    scopes: Sequence[Scope],
    *,
    label: str = "",
    expires_at: int | None = None,
) -> Command[ApiKeyInfo | KeyRejected]:
    """Create a key for a tenant that expires at `expires_at` (milliseconds), or never."""
    operation = operations.AddApiKey(
        *audit_context.args,
        tenant=tenant,
        id=key.id,
        hash=key.hash,
        scopes=" ".join(dict.fromkeys(scopes)),
        label=label,
        expires_ms=expires_at,
        max_keys=MOST_KEYS,
        replaces="",
        grace_ms=0,
        keep_ms=INACTIVE_KEY_MS,
    )
    return Command(operation, lambda reply: _added(key.id, reply))


def rotate_api_key(
    audit_context: AuditContext,
    tenant: str,
    old_id: str,
    key: Key,
    *,
    grace_seconds: float,
    expires_at: int | None,
) -> Command[ApiKeyInfo | KeyRejected]:
    """Create a key that replaces a valid one, which expires after `grace_seconds`.

    The new one has the scopes and the label of the old one, and the same lifetime unless
    `expires_at` (milliseconds) says otherwise.
    """
    operation = operations.AddApiKey(
        *audit_context.args,
        tenant=tenant,
        id=key.id,
        hash=key.hash,
        scopes="",
        label="",
        expires_ms=expires_at,
        max_keys=MOST_KEYS,
        replaces=old_id,
        grace_ms=grace_seconds * 1000,
        keep_ms=INACTIVE_KEY_MS,
    )
    return Command(operation, lambda reply: _added(key.id, reply))


def _added(key_id: str, reply: Sequence[str]) -> ApiKeyInfo | KeyRejected:
    if reply[0] != "ok":
        return KeyRejected(*reply)
    _, created, expires, scopes, label = reply
    return ApiKeyInfo(
        key_id, KeyState.LIVING, _scopes(scopes), label, int(created), int(expires or 0) or None
    )


def _scopes(written: str) -> tuple[Scope, ...]:
    return tuple(Scope(name) for name in written.split())


def revoke_api_key(audit_context: AuditContext, tenant: str, key_id: str) -> Command[bool]:
    """Revoke a key at once; return whether the tenant has such a key."""
    operation = operations.RevokeApiKey(*audit_context.args, tenant, key_id, INACTIVE_KEY_MS)
    return Command(operation, lambda reply: reply[0] == "ok")


def touch_api_key(key_id: str) -> Command[None]:
    """Record the use of a key."""
    return Command(operations.TouchApiKey(key_id), lambda _: None)


def list_api_keys(tenant: str) -> Command[tuple[ApiKeyInfo, ...] | None]:
    """List the keys of a tenant or of OPERATORS, oldest first; None if there is no such tenant."""
    return Command(operations.ListApiKeys(tenant), _listed)


def _listed(reply: Sequence[Any]) -> tuple[ApiKeyInfo, ...] | None:
    if reply[0] == "missing":
        return None
    return tuple(_facts(one[0], pairs(one[1:])) for one in reply[1:])


def _facts(key_id: str, record: dict[str, str]) -> ApiKeyInfo:
    def moment(name: str) -> int | None:
        return int(record[name]) if name in record else None

    return ApiKeyInfo(
        id=key_id,
        state=KeyState(record["state"]),
        scopes=_scopes(record["scopes"]),
        label=record["label"],
        created_at=int(record["created"]),
        expires_at=moment("expires"),
        revoked_at=moment("revoked"),
        used_at=moment("used"),
        replaced_by=record.get("replaced_by"),
    )
