"""Webhook endpoints: their state, and their signing secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.codec import pairs
from shared.store.command import Command, raise_if_deleting
from shared.store.delivery_log import Cursor

#: Maximum number of endpoints that a tenant may register itself.
ENDPOINTS_MAX = 100_000


class EndpointState(StrEnum):
    """The health of an endpoint."""

    HEALTHY = "healthy"
    FAILING = "failing"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL of a tenant, without its query. Times are milliseconds since 1970.

    `failures` counts consecutive ones, `failing_since` is when they began; `next_probe_at` is set
    while it gets one delivery at a time; `disabled_at` and `disabled_reason` (`gone`, `failing`)
    while it is disabled. `pending` counts unsettled deliveries, `parked` those of them that wait
    for the endpoint. `last_error` is of the last failed attempt: its `status`, `code` and `error`.
    """

    id: str
    url: str
    created_at: int
    pending: int
    parked: int
    failures: int
    failing_since: int | None
    next_probe_at: int | None
    succeeded_at: int | None
    failed_at: int | None
    last_error: Mapping[str, Any] | None
    disabled_at: int | None
    disabled_reason: str | None
    has_secret: bool
    secret_rotated_at: int | None

    @property
    def state(self) -> EndpointState:
        """Its state in one word."""
        if self.disabled_at is not None:
            return EndpointState.DISABLED
        if self.next_probe_at is not None:
            return EndpointState.FAILING
        return EndpointState.HEALTHY


@dataclass(frozen=True, slots=True)
class EndpointPage:
    """A page of endpoints, newest first; `before` is where to continue, None at the end."""

    endpoints: tuple[Endpoint, ...]
    before: Cursor | None


def list_endpoints(
    tenant: str, *, before: Cursor | None = None, limit: int
) -> Command[EndpointPage]:
    """List a tenant's endpoints, newest first."""
    operation = operations.ListEndpoints(
        tenant=tenant,
        id="",
        before_ms=before.at if before else None,
        before_id=before.id if before else "",
        limit=limit,
    )
    return Command(operation, _page)


def read_endpoint(endpoint_id: str, *, tenant: str) -> Command[Endpoint | None]:
    """Read an endpoint of this tenant; None if there is none."""
    operation = operations.ListEndpoints(tenant, endpoint_id, None, "", 1)
    return Command(operation, lambda reply: next(iter(_page(reply).endpoints), None))


def ensure_endpoint(tenant: str, *, api_key: str, url: str, host: str) -> Command[str]:
    """Register or find an endpoint.

    Return its id, `full` if there are too many, or `gone` if the tenant was deleted meanwhile.
    """
    return Command(operations.EnsureEndpoint(tenant, api_key, url, host, ENDPOINTS_MAX), str)


def enable_endpoint(endpoint_id: str, *, tenant: str) -> Command[bool]:
    """Enable an endpoint; its pending deliveries are sent. False if there is none."""
    return Command(operations.EnableEndpoint(endpoint_id, tenant), _is_ok)


def enable_any_endpoint(audit_context: AuditContext, endpoint_id: str) -> Command[str | None]:
    """Enable an endpoint for an operator; return its tenant, None if there is none."""
    operation = operations.EnableAnyEndpoint(*audit_context.args, endpoint_id)
    return Command(operation, lambda reply: reply or None)


def rotate_any_secret(
    audit_context: AuditContext, endpoint_id: str, secret: str
) -> Command[str | None]:
    """Set the secret of an endpoint for an operator; return its tenant, None if there is none.

    The previous secret, its own or the tenant's, also signs for a day.
    """
    operation = operations.RotateAnySecret(*audit_context.args, endpoint_id, secret)
    return Command(operation, lambda reply: reply or None)


def read_webhook_secret(tenant: str, *, endpoint_id: str | None = None) -> Command[str]:
    """Read the current signing secret (`whsec_…`) of a tenant, or an endpoint's own; '' if none."""
    operation = operations.ReadWebhookSecret(tenant, endpoint_id or "")
    return Command(operation, lambda reply: reply or "")


def rotate_secret(tenant: str, secret: str, *, endpoint_id: str | None = None) -> Command[bool]:
    """Set the secret of a tenant or endpoint; the previous one also signs for a day.

    An empty secret removes that of an endpoint. False if there is no endpoint.
    """
    return Command(operations.RotateSecret(tenant, endpoint_id or "", secret), _is_ok)


def rotate_tenant_secret(audit_context: AuditContext, tenant: str, secret: str) -> Command[bool]:
    """Set a tenant's secret for an operator; the previous one also signs for a day.

    False if there is no such tenant. Raise TenantDeleting while it is being deleted.
    """

    def read(reply: str) -> bool:
        raise_if_deleting(reply, tenant)
        return _is_ok(reply)

    return Command(operations.RotateTenantSecret(*audit_context.args, tenant, secret), read)


def _is_ok(reply: str) -> bool:
    return reply == "ok"


def _page(reply: Sequence[Any]) -> EndpointPage:
    at, last, *records = reply
    found = tuple(_endpoint(record[0], record[1], pairs(record[2:])) for record in records)
    return EndpointPage(found, Cursor(int(at), last) if at else None)


def _endpoint(endpoint_id: str, parked: int, record: Mapping[str, str]) -> Endpoint:
    def time(name: str) -> int | None:
        return int(record[name]) if name in record else None

    return Endpoint(
        id=endpoint_id,
        url=record["url"],
        created_at=int(record["created"]),
        pending=int(record.get("pending", 0)),
        parked=parked,
        failures=int(record.get("fails", 0)),
        failing_since=time("since"),
        next_probe_at=time("next"),
        succeeded_at=time("ok_at"),
        failed_at=time("failed_at"),
        last_error=orjson.loads(record.get("last_error", "{}")) or None,
        disabled_at=time("off"),
        disabled_reason=record.get("why"),
        has_secret="webhook_secret" in record,
        secret_rotated_at=time("webhook_rotated"),
    )
