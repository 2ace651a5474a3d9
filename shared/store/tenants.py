"""Tenants and whose a key is: who may ask, how much, and what signs their webhooks."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
import redis

from shared.api_keys import Scope
from shared.store import keys, operations
from shared.store.audit import AuditContext
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.connection import translate
from shared.store.operations import Argument

#: A name stands in keys of Redis and of the storage, so no separator of either may be in it.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "must have 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit"

#: What a tenant may, by name; None takes a limit away.
Limits = Mapping[str, float | str | bool | None]


class KeyState(StrEnum):
    """Whether a key opens anything."""

    LIVING = "living"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key belongs to: what the front door knows of a caller."""

    key_id: str
    key_hash: str
    scopes: frozenset[Scope]
    tenant: str
    may_disable_safety: bool
    state: KeyState = KeyState.LIVING


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as operators see it; None where a limit is not set. `created_at` in milliseconds."""

    name: str
    weight: float
    max_running: int | None
    max_queued: int | None
    requests_per_minute: int | None
    daily_credits: float | None
    budget_action: str | None
    may_disable_safety: bool
    created_at: int | None
    queued: int
    running: int


def authenticate(key_id: str) -> Command[Principal | None]:
    """Look a key up; None where there is none. The secret is compared by who asks."""
    return Command(operations.Authenticate(key_id), lambda reply: _principal(key_id, reply))


def _principal(key_id: str, reply: Sequence[str]) -> Principal | None:
    if not reply:
        return None
    record: Mapping[str, str] = pairs(reply)
    return Principal(
        key_id=key_id,
        key_hash=record["hash"],
        scopes=frozenset(Scope(name) for name in record["scopes"].split()),
        tenant=record["tenant"],
        may_disable_safety=record.get("tenant.may_disable_safety") == "1",
        state=KeyState(record["state"]),
    )


def create_tenant(
    audit_context: AuditContext, name: str, limits: Limits, *, webhook_secret: str
) -> Command[str | None]:
    """Make a tenant. Gives None, or the webhook secret of the one that has this name."""
    operation = operations.CreateTenant(
        *audit_context.args,
        tenant=name,
        webhook_secret=webhook_secret,
        detail=_json(limits),
        limits=_flat(limits, skip_none=True),
    )
    return Command(operation, lambda reply: reply[1] if reply[0] == "exists" else None)


def set_limits(
    tenant: str, audit_context: AuditContext | None = None, /, **limits: float | str | None
) -> Command[bool]:
    """Set what a tenant may (None: no limit), at once; gives whether there is such a tenant.

    Writing to the tenant's hash alone would leave a group that was at its cap out of the queue.
    Without a `deed` no operator asks, nothing is noted, and a tenant that was never made is taken.
    """
    who = audit_context.args if audit_context else ("", "", "")
    operation = operations.SetLimits(
        *who, tenant=tenant, detail=_json(limits), limits=_flat(limits)
    )
    return Command(operation, lambda reply: reply[0] == "ok")


def _json(limits: Limits) -> str:
    return orjson.dumps(dict(limits)).decode()


def _flat(limits: Limits, *, skip_none: bool = False) -> tuple[Argument, ...]:
    fields = {name: value for name, value in limits.items() if value is not None or not skip_none}
    return tuple(part for name, value in fields.items() for part in (name, _written(value)))


def _written(value: float | str | bool | None) -> Argument:  # noqa: FBT001  a value, not a switch
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value


def list_tenants(*, after: str | None = None, limit: int) -> Command[tuple[Tenant, ...]]:
    """List tenants in the order of their names, those that come after `after`."""
    return _read(f"({after}" if after else "-", "+", limit)


def read_tenant(name: str) -> Command[tuple[Tenant, ...]]:
    """Read the tenant of this name: one, or none where there is no such tenant."""
    return _read(f"[{name}", f"[{name}", 1)


def _read(least: str, most: str, limit: int) -> Command[tuple[Tenant, ...]]:
    return Command(operations.ListTenants(least, most, limit), _tenants)


def _tenants(reply: Sequence[Any]) -> tuple[Tenant, ...]:
    return tuple(
        _tenant(name, queued, running, pairs(flat)) for name, queued, running, *flat in reply
    )


def _tenant(name: str, queued: int, running: int, record: Mapping[str, str]) -> Tenant:
    def integer(field: str) -> int | None:
        return int(float(record[field])) if field in record else None

    return Tenant(
        name=name,
        weight=float(record.get("weight", 1)),
        max_running=integer("max_running"),
        max_queued=integer("max_queued"),
        requests_per_minute=integer("requests_per_minute"),
        daily_credits=float(record["daily_credits"]) if "daily_credits" in record else None,
        budget_action=record.get("budget_action"),
        may_disable_safety=record.get("may_disable_safety") == "1",
        created_at=integer("created"),
        queued=queued,
        running=running,
    )


def signing_key(client: "redis.Redis") -> bytes:
    """Give the secret that signs image addresses; the first process that asks makes it.

    Raises StoreError.
    """
    try:
        client.set(keys.signing_key(), new_signing_key(), nx=True)
        return bytes.fromhex(_text(client.get(keys.signing_key())))
    except (redis.RedisError, OSError) as error:
        raise translate(error, sent=False) from error


def new_signing_key() -> str:
    """Make a secret to sign image addresses with, as it is kept: 32 bytes in hexadecimal."""
    return secrets.token_hex(32)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
