"""What the API reference tells of webhooks and of the feed."""

from collections.abc import Mapping

from api.events import LIMIT_MAX as FEED_LIMIT_MAX
from api.jobs.schemas import Strict
from api.reference_words import (
    BODY,
    JSON,
    TEXT,
    WAIT,
    Operation,
    in_json,
    operation,
    parameter,
    ref,
)
from api.webhooks.deliveries import LIMIT_DEFAULT, LIMIT_MAX
from api.webhooks.schemas import EndpointBody, RedeliverBody, TestBody
from shared.jobs import DeliveryState

#: The bodies that are described here.
BODIES: tuple[type[Strict], ...] = (RedeliverBody, EndpointBody, TestBody)


def _body(model: type[Strict]) -> Operation:
    return {"required": True, "content": {JSON: {"schema": ref(model.__name__)}}}


def _page(most: int, default: int) -> tuple[Operation, ...]:
    limit: Operation = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return (
        parameter("query", "limit", "Entries on the page", **limit),
        parameter("query", "cursor", "`next_cursor` of the page before", **TEXT),
    )


_SECRET: Mapping[int | str, Operation] = {
    200: in_json("The new secret, shown now only", "WebhookSecret")
}

WEBHOOK_OPERATIONS: Mapping[str, Operation] = {
    "get_deliveries": operation(
        "webhooks",
        {200: in_json("A page, newest first", "DeliveryPage")},
        parameters=(
            parameter("query", "job_id", "Only of this job", **TEXT),
            parameter("query", "status", "Only these", enum=[word.value for word in DeliveryState]),
            *_page(LIMIT_MAX, LIMIT_DEFAULT),
        ),
    ),
    "get_delivery": operation(
        "webhooks", {200: in_json("The delivery", "Delivery")}, ("not_found",)
    ),
    "redeliver_one": operation(
        "webhooks",
        {202: in_json("It is sent again", "Delivery")},
        ("not_found", "delivery_sending", "endpoint_disabled", "outcome_unknown"),
    ),
    "redeliver_since": operation(
        "webhooks",
        {202: in_json("So many are sent again", "Redelivered")},
        (*BODY, "outcome_unknown"),
        body=_body(RedeliverBody),
    ),
    "send_test_event": operation(
        "webhooks",
        {200: in_json("What was sent, and what came of it", "TestEvent")},
        (*BODY, "redis_full", "outcome_unknown"),
        body=_body(TestBody),
    ),
    "rotate_secret": operation("webhooks", _SECRET, ("outcome_unknown",)),
    "get_endpoints": operation(
        "webhooks",
        {200: in_json("A page, newest first", "EndpointPage")},
        parameters=_page(LIMIT_MAX, LIMIT_DEFAULT),
    ),
    "create_endpoint": operation(
        "webhooks",
        {200: in_json("The endpoint", "Endpoint")},
        (*BODY, "too_many_endpoints", "redis_full", "outcome_unknown"),
        body=_body(EndpointBody),
    ),
    "get_endpoint": operation(
        "webhooks", {200: in_json("The endpoint", "Endpoint")}, ("not_found",)
    ),
    "enable_endpoint": operation(
        "webhooks",
        {200: in_json("The endpoint, switched on", "Endpoint")},
        ("not_found", "outcome_unknown"),
    ),
    "rotate_endpoint_secret": operation("webhooks", _SECRET, ("not_found", "outcome_unknown")),
    "drop_secret": operation(
        "webhooks",
        {204: {"description": "The tenant's secret signs"}},
        ("not_found", "outcome_unknown"),
    ),
    "get_event_feed": operation(
        "events",
        {200: in_json("What changed, oldest first", "Feed")},
        ("cursor_expired",),
        parameters=(
            parameter("query", "after", "`next_cursor` of the answer before, or `now`", **TEXT),
            parameter(
                "query",
                "limit",
                "Entries at once",
                type="integer",
                minimum=1,
                maximum=FEED_LIMIT_MAX,
                default=100,
            ),
            parameter("query", "wait", "Hold an empty answer for news, in seconds", **WAIT),
        ),
    ),
}
