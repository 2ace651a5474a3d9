"""Tenants, their limits and secrets, and the lookup of API keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from shared.api_keys import Scope
from shared.budgets import Budget
from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.budgets import budget_of
from shared.store.codec import pairs
from shared.store.command import Command, raise_if_deleting
from shared.store.operations import Argument

#: A tenant's name is part of keys in Redis and of object names, so it excludes their separators.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "must have 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit"

#: The limits of a tenant or a key, by name; None removes a limit.
Limits = Mapping[str, float | str | bool | tuple[str, ...] | None]


class KeyState(StrEnum):
    """Whether a key is valid."""

    LIVING = "living"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated tenant and key of a request."""

    key_id: str
    key_hash: str
    scopes: frozenset[Scope]
    tenant: str
    may_disable_safety: bool
    #: the models that the tenant and the key may both use; None: all
    models: frozenset[str] | None = None
    state: KeyState = KeyState.LIVING

    def may_use(self, model: str) -> bool:
        """Return whether jobs of this tenant and key may use a model."""
        return self.models is None or model in self.models


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as operators see it; None if a limit is not set. `created_at` in milliseconds."""

    name: str
    weight: float
    max_running: int | None
    max_queued: int | None
    requests_per_minute: int | None
    daily_credits: float | None
    monthly_credits: float | None
    budget_action: str | None
    may_disable_safety: bool
    models: tuple[str, ...] | None
    image_retention_seconds: int | None
    record_retention_seconds: int | None
    archive_prompts: bool
    created_at: int | None
    is_being_deleted: bool
    queued: int
    running: int
    budgets: tuple[Budget, ...]


def authenticate(key_id: str) -> Command[Principal | None]:
    """Look a key up; None if there is none. The caller compares the secret."""
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
        models=_in_both(record.get("tenant.models"), record.get("models")),
        state=KeyState(record["state"]),
    )


def _in_both(tenants: str | None, keys: str | None) -> frozenset[str] | None:
    limits = [frozenset(one.split()) for one in (tenants, keys) if one is not None]
    return frozenset.intersection(*limits) if limits else None


def models_of(record: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the models to which the record of a tenant or key is limited; None: all."""
    return tuple(record["models"].split()) if "models" in record else None


def create_tenant(
    audit_context: AuditContext, name: str, limits: Limits, *, webhook_secret: str
) -> Command[str | None]:
    """Create a tenant. Return None, or the webhook secret of the tenant that has this name.

    Raise TenantDeleting while a tenant of this name is being deleted.
    """

    def read(reply: Sequence[str]) -> str | None:
        raise_if_deleting(reply[0], name)
        return reply[1] if reply[0] == "exists" else None

    operation = operations.CreateTenant(
        *audit_context.args,
        tenant=name,
        webhook_secret=webhook_secret,
        detail=_json(limits),
        limits=flat_limits(limits, skip_none=True),
    )
    return Command(operation, read)


def set_limits(
    tenant: str,
    audit_context: AuditContext | None = None,
    /,
    **limits: float | str | tuple[str, ...] | None,
) -> Command[bool]:
    """Set limits of a tenant (None: no limit) at once; return whether there is such a tenant.

    Raise TenantDeleting while it is being deleted.

    Writing the tenant's hash alone would leave a group that was at its limit out of the queue.
    Without `audit_context`, nothing is recorded, and a tenant that was never created is accepted.
    """

    def read(reply: Sequence[str]) -> bool:
        raise_if_deleting(reply[0], tenant)
        return reply[0] == "ok"

    who = audit_context.args if audit_context else ("", "", "")
    operation = operations.SetLimits(
        *who, tenant=tenant, detail=_json(limits), limits=flat_limits(limits)
    )
    return Command(operation, read)


def _json(limits: Limits) -> str:
    return orjson.dumps(dict(limits)).decode()


def flat_limits(limits: Limits, *, skip_none: bool = False) -> tuple[Argument, ...]:
    """Return limits as arguments: name, value, name, value; None is ''."""
    fields = {name: value for name, value in limits.items() if value is not None or not skip_none}
    return tuple(part for name, value in fields.items() for part in (name, _written(value)))


def _written(value: float | str | bool | tuple[str, ...] | None) -> Argument:  # noqa: FBT001
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return " ".join(value)
    return "" if value is None else value


def list_tenants(*, after: str | None = None, limit: int) -> Command[tuple[Tenant, ...]]:
    """List tenants by name, those after `after`."""
    return _read(f"({after}" if after else "-", "+", limit)


def read_tenant(name: str) -> Command[tuple[Tenant, ...]]:
    """Read the tenant of this name: one, or none if there is no such tenant."""
    return _read(f"[{name}", f"[{name}", 1)


def _read(least: str, most: str, limit: int) -> Command[tuple[Tenant, ...]]:
    return Command(operations.ListTenants(least, most, limit), _tenants)


def _tenants(reply: Sequence[Any]) -> tuple[Tenant, ...]:
    return tuple(
        _tenant(name, queued, running, budgets, pairs(flat))
        for name, queued, running, budgets, *flat in reply
    )


def _tenant(
    name: str, queued: int, running: int, budgets: Sequence[str], record: Mapping[str, str]
) -> Tenant:
    def integer(field: str) -> int | None:
        return int(float(record[field])) if field in record else None

    def credits_of(field: str) -> float | None:
        return float(record[field]) if field in record else None

    return Tenant(
        name=name,
        weight=float(record.get("weight", 1)),
        max_running=integer("max_running"),
        max_queued=integer("max_queued"),
        requests_per_minute=integer("requests_per_minute"),
        daily_credits=credits_of("daily_credits"),
        monthly_credits=credits_of("monthly_credits"),
        budget_action=record.get("budget_action"),
        may_disable_safety=record.get("may_disable_safety") == "1",
        models=models_of(record),
        image_retention_seconds=integer("image_retention_seconds"),
        record_retention_seconds=integer("record_retention_seconds"),
        archive_prompts=record.get("archive_prompts") != "0",
        created_at=integer("created"),
        is_being_deleted="deleting" in record,
        queued=queued,
        running=running,
        budgets=tuple(map(budget_of, budgets)),
    )
