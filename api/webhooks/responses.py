"""Deliveries and endpoints as JSON."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from shared.jobs import DeliveryState
from shared.schemas import Count, Time, Url
from shared.serializers import rfc3339
from shared.store.delivery_log import Entry
from shared.store.endpoints import DISABLED_REASONS, EndpointState
from shared.store.endpoints import Endpoint as StoredEndpoint

DeliveryErrorCode = Literal[
    "status",
    "gone",
    "timeout",
    "unreachable",
    "egress_proxy",
    "egress_proxy_down",
    "broken",
    "address_forbidden",
    "address_invalid",
    "internal",
]


class DeliveryError(TypedDict):
    """Why an attempt failed."""

    code: DeliveryErrorCode
    message: str


class DeliveryAttempt(TypedDict):
    """One attempt of a delivery."""

    number: Count
    at: Time
    seconds: float
    status: Count | None
    error: DeliveryError | None
    answer: Annotated[str, Field(description="The first 1,024 bytes of the response")]


class ListedDelivery(TypedDict):
    """A webhook delivery with its last attempt."""

    id: Annotated[str, Field(description="The `webhook-id`")]
    type: str
    status: DeliveryState
    job_id: str | None
    batch_id: str | None
    version: Count
    endpoint_id: str
    url: Url
    attempt: Count
    created_at: Time
    next_attempt_at: Time | None
    finished_at: Time | None
    last_attempt: DeliveryAttempt | None


class Delivery(ListedDelivery):
    """A webhook delivery."""

    attempts: list[DeliveryAttempt]


class DeliveryPage(TypedDict):
    """A page of deliveries."""

    data: list[ListedDelivery]
    next_cursor: str | None


class EndpointError(TypedDict):
    """Why the last failed attempt failed."""

    status: Count | None
    code: str
    message: str


class CommonEndpoint(TypedDict):
    """A webhook endpoint of a tenant or of operators."""

    id: str
    url: Annotated[Url, Field(description="Without its query, unless it is a standing endpoint")]
    events: Annotated[
        Sequence[str],
        Field(description="The events that it gets, as a standing endpoint; else empty"),
    ]
    description: str
    enabled: bool
    status: EndpointState
    created_at: Time
    pending: Annotated[Count, Field(description="Deliveries still to be sent, with parked ones")]
    parked: Annotated[
        Count, Field(description="Pending deliveries that wait for the endpoint to recover")
    ]
    failures: Annotated[Count, Field(description="Failed attempts in a row")]
    failing_since: Time | None
    next_probe_at: Time | None
    last_success_at: Time | None
    last_failure_at: Time | None
    last_error: EndpointError | None
    disabled_at: Time | None
    disabled_reason: Annotated[str, Field(json_schema_extra={"enum": [*DISABLED_REASONS]})] | None
    has_own_secret: bool
    secret_rotated_at: Time | None


class Endpoint(CommonEndpoint):
    """A webhook endpoint."""

    payload: str


class OperatorEndpoint(CommonEndpoint):
    """A webhook endpoint of operators."""

    format: str


class EndpointPage(TypedDict):
    """A page of endpoints."""

    data: list[Endpoint]
    next_cursor: str | None


class WebhookSecret(TypedDict):
    """A new secret."""

    secret: str
    previous_signs_until: Time


class Redelivered(TypedDict):
    """How many deliveries are sent again."""

    count: Count
    more: bool


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """Write a response that must not be cached."""
    headers = {"Cache-Control": "private, no-store"}
    return Response(orjson.dumps(body), status, headers, "application/json")


def listed(entry: Entry) -> ListedDelivery:
    """Write a delivery with its last attempt."""
    kind = entry.type.partition(".")[0]
    return {
        "id": entry.id,
        "type": entry.type,
        "status": entry.state,
        "job_id": entry.subject if kind == "job" else None,
        "batch_id": entry.subject if kind == "batch" else None,
        "version": entry.version,
        "endpoint_id": entry.endpoint,
        "url": entry.url,
        "attempt": entry.attempt,
        "created_at": rfc3339(entry.created_at),
        "next_attempt_at": rfc3339(entry.due_at),
        "finished_at": rfc3339(entry.finished_at),
        "last_attempt": attempt_shown(entry.attempts[-1]) if entry.attempts else None,
    }


def delivery_shown(entry: Entry) -> Delivery:
    """Write a delivery with its stored attempts."""
    return {**listed(entry), "attempts": [attempt_shown(one) for one in entry.attempts]}


def attempt_shown(attempt: Mapping[str, Any]) -> DeliveryAttempt:
    """Write one attempt, as the worker recorded it."""
    code = attempt["code"]
    return {
        "number": attempt["number"],
        "at": attempt["at"],
        "seconds": attempt["seconds"],
        "status": attempt["status"],
        "error": _fault_shown(code, attempt["error"]) if code else None,
        "answer": attempt["answer"],
    }


def _error_shown(error: Mapping[str, Any] | None) -> EndpointError | None:
    if error is None:
        return None
    return {"status": error["status"], **_fault_shown(error["code"], error["error"])}


def _fault_shown(code: DeliveryErrorCode, message: str) -> DeliveryError:
    return {"code": code, "message": message or _ADVICE[code]}


_ADVICE = {
    "status": "The endpoint did not respond with a 2xx status.",
    "gone": "The endpoint responded 410 (gone): such a response to an event disables it.",
}


def endpoint_shown(endpoint: StoredEndpoint) -> Endpoint:
    """Write an endpoint, without its secret."""
    return {**_endpoint_shown(endpoint), "payload": endpoint.payload}


def operator_endpoint_shown(endpoint: StoredEndpoint) -> OperatorEndpoint:
    """Write an endpoint of operators, without its secret."""
    return {**_endpoint_shown(endpoint), "format": endpoint.format}


def _endpoint_shown(endpoint: StoredEndpoint) -> CommonEndpoint:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "description": endpoint.description,
        "enabled": endpoint.disabled_at is None,
        "status": endpoint.state,
        "created_at": rfc3339(endpoint.created_at),
        "pending": endpoint.pending,
        "parked": endpoint.parked,
        "failures": endpoint.failures,
        "failing_since": rfc3339(endpoint.failing_since),
        "next_probe_at": rfc3339(endpoint.next_probe_at),
        "last_success_at": rfc3339(endpoint.succeeded_at),
        "last_failure_at": rfc3339(endpoint.failed_at),
        "last_error": _error_shown(endpoint.last_error),
        "disabled_at": rfc3339(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "has_own_secret": endpoint.has_secret,
        "secret_rotated_at": rfc3339(endpoint.secret_rotated_at),
    }
