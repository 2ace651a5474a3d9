"""The API keys of tenants: create, list, rotate, revoke."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from shared.api_keys import Key, Scope
from shared.budgets import Budget
from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.budgets import budget_of
from shared.store.codec import pairs
from shared.store.command import Command, raise_if_deleting
from shared.store.tenants import KeyState, Limits, flat_limits, models_of

#: An ended key is remembered this long, so that its holder learns what happened to it.
INACTIVE_KEY_MS = 30 * 86_400_000
#: Maximum number of keys of a tenant, including those that ended lately.
MOST_KEYS = 500
#: How long a replaced key stays valid by default.
GRACE_SECONDS = 86_400
_NO_LIMITS: Limits = {}


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """A key without its secret; times in milliseconds, `used_at` to about a minute.

    `payer` is the first of the keys that it replaces: what all of them use counts together.
    """

    id: str
    state: KeyState
    scopes: tuple[Scope, ...]
    label: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None
    replaced_by: str | None = None
    payer: str | None = None
    monthly_credits: float | None = None
    requests_per_minute: int | None = None
    models: tuple[str, ...] | None = None
    budgets: tuple[Budget, ...] = ()


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
    """A key as it is stored, without its secret; `payer` as in ApiKeyInfo, '' for none."""

    id: str
    hash: str
    payer: str = ""


def add_api_key(
    audit_context: AuditContext,
    tenant: str,
    key: Key | StoredKey,
    scopes: Sequence[Scope],
    *,
    label: str = "",
    expires_at: int | None = None,
    limits: Limits = _NO_LIMITS,
) -> Command[ApiKeyInfo | KeyRejected]:
    """Create a key for a tenant that expires at `expires_at` (milliseconds), or never.

    Raise TenantDeleting while the tenant is being deleted.
    """
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
        payer=key.payer if isinstance(key, StoredKey) else "",
        grace_ms=0,
        keep_ms=INACTIVE_KEY_MS,
        limits=flat_limits(limits, skip_none=True),
    )
    return Command(operation, _added(tenant))


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

    The new one has the scopes, the label and the limits of the old one, and the same lifetime
    unless `expires_at` (milliseconds) says otherwise. Both share what is used of the limits.
    Raise TenantDeleting while the tenant is being deleted.
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
        payer="",
        grace_ms=grace_seconds * 1000,
        keep_ms=INACTIVE_KEY_MS,
        limits=(),
    )
    return Command(operation, _added(tenant))


def _added(tenant: str) -> Callable[[Sequence[Any]], ApiKeyInfo | KeyRejected]:
    def read(reply: Sequence[Any]) -> ApiKeyInfo | KeyRejected:
        raise_if_deleting(reply[0], tenant)
        return _facts(reply[1]) if reply[0] == "ok" else KeyRejected(*reply)

    return read


def set_key_limits(
    audit_context: AuditContext, tenant: str, key_id: str, limits: Limits
) -> Command[ApiKeyInfo | None]:
    """Set limits of a key at once (None removes one); return it, None if there is no such key."""
    detail = orjson.dumps({"key": key_id, **limits}).decode()
    operation = operations.SetKeyLimits(
        *audit_context.args, tenant, key_id, detail, flat_limits(limits)
    )
    return Command(operation, lambda reply: _facts(reply[1]) if reply[0] == "ok" else None)


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
    return tuple(map(_facts, reply[1:]))


def _facts(described: Sequence[Any]) -> ApiKeyInfo:
    key_id, budgets, *flat = described
    record: dict[str, str] = pairs(flat)

    def integer(name: str) -> int | None:
        return int(record[name]) if name in record else None

    return ApiKeyInfo(
        id=key_id,
        state=KeyState(record["state"]),
        scopes=tuple(Scope(name) for name in record["scopes"].split()),
        label=record["label"],
        created_at=int(record["created"]),
        expires_at=integer("expires"),
        revoked_at=integer("revoked"),
        used_at=integer("used"),
        replaced_by=record.get("replaced_by"),
        payer=record.get("payer"),
        monthly_credits=float(record["monthly_credits"]) if "monthly_credits" in record else None,
        requests_per_minute=integer("requests_per_minute"),
        models=models_of(record),
        budgets=tuple(map(budget_of, budgets)),
    )
