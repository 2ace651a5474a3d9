"""Webhook endpoints: their state, their subscriptions, and their signing secrets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from shared.api_keys import OPERATORS
from shared.operator_events import DEFAULT_EVENTS
from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.codec import pairs
from shared.store.command import Command, raise_if_deleting
from shared.store.delivery_log import Cursor

#: Maximum number of endpoints that a tenant may register itself.
ENDPOINTS_MAX = 100_000
#: Maximum number of standing endpoints of a tenant: each event is written once for each of them.
STANDING_MAX = 10
#: Deliveries that one call of `delete_endpoint` deletes, so that Redis is never blocked for long.
DELETED_AT_ONCE = 200
#: The formats of operators' events: Standard Webhooks, and what a Slack incoming webhook accepts.
STANDARD, SLACK = "standard", "slack"
#: Why an endpoint is disabled: it responded 410, it failed for too long, its tenant requested it.
DISABLED_REASONS = ("gone", "failing", "requested")


class EndpointState(StrEnum):
    """The health of an endpoint."""

    HEALTHY = "healthy"
    FAILING = "failing"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL of a tenant, or of the operators. Times are milliseconds since 1970.

    `url` has no query, unless it is a standing endpoint: one with `events`, `description`,
    `headers` and `payload` of its own, and `format` if it belongs to operators.
    `failures` counts consecutive ones, `failing_since` is when they began; `next_probe_at` is set
    while it gets one delivery at a time; `disabled_at` and `disabled_reason` (`gone`, `failing`,
    `requested`) while it is disabled. `pending` counts unsettled deliveries, `parked` those of them
    that wait for the endpoint. `last_error` is of the last failed attempt: its `status`, `code` and
    `error`.
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
    events: tuple[str, ...] = ()
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: str = "full"
    format: str = STANDARD

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


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Settings of an endpoint; None leaves one as it is. `events` make it a standing endpoint."""

    events: Sequence[str] | None = None
    description: str | None = None
    headers: Mapping[str, str] | None = None
    payload: str | None = None
    format: str | None = None
    enabled: bool | None = None

    @property
    def stored_events(self) -> str:
        """Return the events as they are sent; '' leaves them as they are."""
        return " ".join(self.events or ())

    @property
    def stored_enabled(self) -> str:
        """Return `enabled` as it is sent; '' leaves it as it is."""
        return "" if self.enabled is None else str(int(self.enabled))

    def stored_fields(self) -> tuple[str, ...]:
        """Return the fields of the record as name, value, …; an empty value removes one."""
        headers = orjson.dumps(self.headers).decode() if self.headers else ""
        given = (
            ("description", self.description, self.description or ""),
            ("headers", self.headers, headers),
            ("payload", self.payload, "" if self.payload == "full" else self.payload or ""),
            ("format", self.format, "" if self.format == STANDARD else self.format or ""),
        )
        return tuple(
            text for name, value, sent in given if value is not None for text in (name, sent)
        )


def ensure_endpoint(
    tenant: str, *, api_key: str, url: str, host: str, settings: EndpointSettings | None = None
) -> Command[str]:
    """Register or find an endpoint, and set what is given of it.

    Return its id, `full` or `full_standing` if there are too many, `not_standing` if headers or a
    payload are given of an endpoint without events, or `gone` if the tenant has been deleted.
    """
    given = settings or EndpointSettings()
    query = ("query", _query(url)) if given.events or _query(url) else ()
    operation = operations.EnsureEndpoint(
        tenant=tenant,
        api_key=api_key,
        url=url,
        host=host,
        max_endpoints=ENDPOINTS_MAX,
        max_standing=STANDING_MAX,
        events=given.stored_events,
        enabled=given.stored_enabled,
        fields=(*given.stored_fields(), *query),
    )
    return Command(operation, str)


def update_endpoint(endpoint_id: str, *, tenant: str, settings: EndpointSettings) -> Command[str]:
    """Set what is given of an endpoint: `ok`, `missing`, or `full_standing` if there are too many.

    `not_standing`: headers or a payload are given of an endpoint without events. A disabled one
    that is enabled gets its pending deliveries.
    """
    operation = operations.UpdateEndpoint(
        id=endpoint_id,
        tenant=tenant,
        max_standing=STANDING_MAX,
        events=settings.stored_events,
        enabled=settings.stored_enabled,
        fields=settings.stored_fields(),
    )
    return Command(operation, str)


def delete_endpoint(endpoint_id: str, *, tenant: str, most: int = DELETED_AT_ONCE) -> Command[str]:
    """Delete an endpoint with its unsettled deliveries; `missing` if there is none.

    `more`: its subscription is deleted, and `most` deliveries; call again until it is `ok`.
    """
    return Command(operations.DeleteEndpoint(endpoint_id, tenant, most), str)


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


def ensure_operator_endpoint(
    audit_context: AuditContext, *, url: str, host: str, secret: str, settings: EndpointSettings
) -> Command[tuple[str, bool]]:
    """Create an endpoint of the operators, or find it, and set what is given of it.

    A new one without `events` gets those of all conditions. Return its id, or `full` or
    `full_standing` if there are too many; and whether it got `secret`, because it had none.
    """
    operation = operations.EnsureOperatorEndpoint(
        *audit_context.args,
        audited=_audited(settings, host),
        secret=secret,
        default_events=" ".join(DEFAULT_EVENTS),
        url=url,
        host=host,
        max_endpoints=ENDPOINTS_MAX,
        max_standing=STANDING_MAX,
        events=settings.stored_events,
        enabled=settings.stored_enabled,
        fields=(*settings.stored_fields(), "query", _query(url)),
    )
    return Command(operation, lambda reply: (reply[0], reply[1] == "1"))


def update_operator_endpoint(
    audit_context: AuditContext, endpoint_id: str, settings: EndpointSettings
) -> Command[str]:
    """Set what is given of an endpoint of the operators, as `update_endpoint` does."""
    operation = operations.UpdateOperatorEndpoint(
        *audit_context.args,
        audited=_audited(settings),
        id=endpoint_id,
        max_standing=STANDING_MAX,
        events=settings.stored_events,
        enabled=settings.stored_enabled,
        fields=settings.stored_fields(),
    )
    return Command(operation, str)


def delete_operator_endpoint(
    audit_context: AuditContext, endpoint_id: str, *, most: int = DELETED_AT_ONCE
) -> Command[str]:
    """Delete an endpoint of the operators, as `delete_endpoint` does."""
    return Command(operations.DeleteOperatorEndpoint(*audit_context.args, endpoint_id, most), str)


def _audited(settings: EndpointSettings, host: str | None = None) -> str:
    """Write what is set for the audit log: no headers, and of the URL only the host."""
    given = {
        "tenant": OPERATORS,
        "host": host,
        "events": settings.events and [*settings.events],
        "description": settings.description,
        "format": settings.format,
        "enabled": settings.enabled,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return orjson.dumps(changes).decode()


def read_webhook_secret(tenant: str, *, endpoint_id: str | None = None) -> Command[str]:
    """Read the current signing secret (`whsec_…`) of a tenant, or an endpoint's own; '' if none."""
    operation = operations.ReadWebhookSecret(tenant, endpoint_id or "")
    return Command(operation, lambda reply: reply or "")


def rotate_secret(
    tenant: str, secret: str, *, api_key: str = "", endpoint_id: str | None = None
) -> Command[str]:
    """Set the secret of a tenant or endpoint; the previous one also signs for a day.

    An empty secret removes that of an endpoint. Return `ok`, `missing` if there is no endpoint, or
    `gone` if the tenant has been deleted.
    """
    return Command(operations.RotateSecret(tenant, api_key, endpoint_id or "", secret), str)


def rotate_tenant_secret(audit_context: AuditContext, tenant: str, secret: str) -> Command[bool]:
    """Set a tenant's secret for an operator; the previous one also signs for a day.

    False if there is no such tenant. Raise TenantDeleting while it is being deleted.
    """

    def read(reply: str) -> bool:
        raise_if_deleting(reply, tenant)
        return _is_ok(reply)

    return Command(operations.RotateTenantSecret(*audit_context.args, tenant, secret), read)


def _query(url: str) -> str:
    """Return the query of a URL with what follows it, as `endpoints.ensure` in Lua splits it."""
    return url[len(re.split(r"[?#]", url, maxsplit=1)[0]) :]


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
        url=record["url"] + record.get("query", ""),
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
        events=tuple(record.get("events", "").split()),
        description=record.get("description", ""),
        headers=orjson.loads(record.get("headers", "{}")),
        payload=record.get("payload", "full"),
        format=record.get("format", STANDARD),
    )
