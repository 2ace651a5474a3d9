"""Test events: sent by a worker through the same guard as any webhook, while the client waits.

The API itself connects to no endpoint, so the caller learns no more than a webhook would reveal.
"""

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentTenant
from api.json_body import JsonBody
from api.problems import BODY, problems, tenant_gone
from api.routing import tenant_router
from api.webhooks.endpoints import existing
from api.webhooks.responses import DeliveryAttempt, attempt_shown, json_response
from api.webhooks.schemas import TestBody
from api.webhooks.url_validation import delivery_host, to_stored
from shared import ids
from shared.jobs import DeliveryState
from shared.net.egress_check import CHECK_SECONDS
from shared.schemas import Url
from shared.settings import Settings
from shared.store.command import Command
from shared.store.delivery_log import Entry, read_delivery, send_test
from shared.store.endpoints import Endpoint

#: How long a worker may take to pick it up.
QUEUE_SECONDS = 5.0
_OPEN = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


router = tenant_router("webhooks")


class SentRequest(TypedDict):
    """The request exactly as sent."""

    method: str
    url: Url
    headers: Mapping[str, str]
    body: str


class TestEvent(TypedDict):
    """A test event and its result."""

    id: str
    status: DeliveryState
    request: SentRequest | None
    attempt: DeliveryAttempt | None


@router.post(
    "/v1/webhooks/test",
    response_model=TestEvent,
    response_description="The request and its result",
    responses=problems(*BODY, "redis_full", "outcome_unknown"),
)
async def send_test_event(
    parts: Context,
    principal: CurrentTenant,
    body: Annotated[TestBody, Depends(JsonBody(TestBody))],
) -> Response:
    """Send one signed test event, `webhook.test`; return the exact request and its result.

    If no worker picks it up in time, the status is `pending`; read the delivery later.
    """
    webhook = to_stored({**body.model_dump(mode="json"), "events": []})
    return await send(parts, principal.tenant, webhook, api_key=principal.key_id)


@router.post(
    "/v1/webhooks/endpoints/{endpoint_id}/test",
    operation_id="test_endpoint",
    response_model=TestEvent,
    response_description="The request and its result",
    responses=problems("not_found", "redis_full", "outcome_unknown"),
)
async def test_endpoint(parts: Context, principal: CurrentTenant, endpoint_id: str) -> Response:
    """Send one signed test event to an endpoint, with its headers, also if it is disabled.

    Return the exact request and its result, as `POST /v1/webhooks/test` does.
    """
    endpoint = await existing(parts, endpoint_id, principal.tenant)
    return await send(parts, principal.tenant, webhook_of(endpoint), api_key=principal.key_id)


def webhook_of(endpoint: Endpoint) -> Mapping[str, Any]:
    """Return the webhook of a test event for an endpoint."""
    return {"url": endpoint.url, "headers": endpoint.headers, "format": endpoint.format}


def wait_seconds(settings: Settings) -> float:
    """Return how long to wait for a result: a worker may also check the egress proxy."""
    return QUEUE_SECONDS + settings.webhook_timeout_seconds + CHECK_SECONDS


def queue_call(
    owner: str, webhook: Mapping[str, Any], api_key: str = ""
) -> tuple[str, Command[str]]:
    """Return the id of a test event, and the command that queues it for an endpoint.

    `api_key` is that of the owner's request, '' for operators.
    """
    delivery_id = ids.message_id()
    data = {"id": delivery_id, "status": "test", "version": 1, "run": 1, "metadata": {}}
    host = delivery_host(webhook["url"])
    call = send_test(
        delivery_id, tenant=owner, api_key=api_key, host=host, webhook=webhook, data=data
    )
    return delivery_id, call


async def send(
    parts: AppContext, tenant: str, webhook: Mapping[str, Any], *, api_key: str = ""
) -> Response:
    """Queue a test event, wait for its result, and write both; see `queue_call`."""
    delivery_id, call = queue_call(tenant, webhook, api_key)
    with parts.notifications.subscribe(delivery_id) as subscription:
        ends_at = time.monotonic() + wait_seconds(parts.settings)
        if await parts.committer.run(call) == "gone":
            raise tenant_gone()
        while True:
            entry = await _read(parts, delivery_id, tenant)
            if is_settled(entry) or parts.notifications.closing:
                break
            if not await subscription.wait_until(ends_at):
                break
    return json_response(event_shown(delivery_id, webhook["url"], entry))


async def _read(parts: AppContext, delivery_id: str, tenant: str) -> Entry | None:
    return await parts.committer.run(read_delivery(delivery_id, tenant=tenant))


def is_settled(entry: Entry | None) -> bool:
    """Return whether a test event has its result, or is not kept any more."""
    return entry is None or entry.state not in _OPEN


def event_shown(delivery_id: str, url: str, entry: Entry | None) -> TestEvent:
    """Write a test event with its result."""
    attempt = entry.attempts[-1] if entry and entry.attempts else None
    sent: Mapping[str, Any] = attempt["request"] if attempt else {}
    request: SentRequest | None = None
    if sent:
        request = {"method": "POST", "url": url, "headers": sent["headers"], "body": sent["body"]}
    return {
        "id": delivery_id,
        "status": entry.state if entry else DeliveryState.PENDING,
        "request": request,
        "attempt": attempt_shown(attempt) if attempt else None,
    }
