"""The shapes of answers about webhooks and of the feed, as JSON Schema."""

from collections.abc import Mapping

from api.reference_schemas import (
    COUNT,
    NUMBER,
    TEXT,
    TIME,
    URL,
    Schema,
    list_of,
    object_of,
    or_null,
    page_of,
)
from shared.jobs import DeliveryState, Status
from shared.store.endpoints import EndpointState

_ATTEMPT = object_of(
    {
        "number": COUNT,
        "at": TIME,
        "seconds": NUMBER,
        "status": or_null(COUNT),
        "error": or_null(
            object_of(
                {
                    "code": {
                        "enum": [
                            *("status", "gone", "timeout", "unreachable", "broken"),
                            *("address_forbidden", "address_invalid", "internal"),
                        ]
                    },
                    "message": TEXT,
                }
            )
        ),
        "answer": {**TEXT, "description": "The first 1,024 bytes"},
    },
    "One attempt at a delivery",
)

LISTED_DELIVERY: Mapping[str, Schema] = {
    "id": {**TEXT, "description": "The `webhook-id`"},
    "type": TEXT,
    "status": {"enum": [state.value for state in DeliveryState]},
    "job_id": or_null(TEXT),
    "batch_id": or_null(TEXT),
    "version": COUNT,
    "endpoint_id": TEXT,
    "url": URL,
    "attempt": COUNT,
    "created_at": TIME,
    "next_attempt_at": or_null(TIME),
    "finished_at": or_null(TIME),
    "last_attempt": or_null(_ATTEMPT),
}

DELIVERY_DETAIL: Mapping[str, Schema] = {**LISTED_DELIVERY, "attempts": list_of(_ATTEMPT)}

ENDPOINT: Mapping[str, Schema] = {
    "id": TEXT,
    "url": {**URL, "description": "Without its query"},
    "status": {"enum": [state.value for state in EndpointState]},
    "created_at": TIME,
    "pending": {**COUNT, "description": "Deliveries that are not settled"},
    "parked": {**COUNT, "description": "Of these, those that wait for it to be well"},
    "failures": {**COUNT, "description": "Failed attempts in a row"},
    "failing_since": or_null(TIME),
    "next_probe_at": or_null(TIME),
    "last_success_at": or_null(TIME),
    "last_failure_at": or_null(TIME),
    "last_error": or_null(
        object_of(
            {"status": or_null(COUNT), "code": TEXT, "message": TEXT},
            "Why the last attempt that failed did so",
        )
    ),
    "disabled_at": or_null(TIME),
    "disabled_reason": or_null({"enum": ["gone", "failing"]}),
    "has_own_secret": {"type": "boolean"},
    "secret_rotated_at": or_null(TIME),
}

_EVENT = {
    "type": "object",
    "description": "A change of a job's status, or of a receiver",
    "properties": {
        "type": {
            "enum": [
                *("job.queued", "job.started", "job.succeeded", "job.failed", "job.canceled"),
                *("webhook.failing", "webhook.recovered", "webhook.disabled", "webhook.enabled"),
            ]
        },
        "cursor": {**TEXT, "description": "Goes on after this one"},
        "at": TIME,
        "job_id": TEXT,
        "version": COUNT,
        "status": {"enum": [status.value for status in Status]},
        "endpoint_id": TEXT,
        "url": URL,
        "reason": or_null(TEXT),
    },
    "required": ["type", "cursor", "at"],
}

_TEST_EVENT = object_of(
    {
        "id": TEXT,
        "status": {"enum": ["pending", "sending", "delivered", "failed"]},
        "request": or_null(
            object_of(
                {
                    "method": TEXT,
                    "url": URL,
                    "headers": {"type": "object", "additionalProperties": TEXT},
                    "body": TEXT,
                },
                "Exactly what was sent",
            )
        ),
        "attempt": or_null(_ATTEMPT),
    }
)

WEBHOOK_SCHEMAS: Mapping[str, Schema] = {
    "Delivery": object_of(DELIVERY_DETAIL, "One webhook"),
    "ListedDelivery": object_of(LISTED_DELIVERY, "One webhook, with its last attempt"),
    "DeliveryPage": page_of("ListedDelivery"),
    "Redelivered": object_of({"count": COUNT, "more": {"type": "boolean"}}),
    "Endpoint": object_of(ENDPOINT, "One receiver of webhooks"),
    "EndpointPage": page_of("Endpoint"),
    "WebhookSecret": object_of({"secret": TEXT, "previous_signs_until": TIME}),
    "TestEvent": _TEST_EVENT,
    "Event": _EVENT,
    "Feed": object_of(
        {"data": list_of({"$ref": "#/components/schemas/Event"}), "next_cursor": TEXT}
    ),
}
