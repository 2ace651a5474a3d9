"""One test event: sent by a worker, through the same guard as any other, while the client waits.

The front door itself connects to nobody: who asks learns no more than a webhook would tell.
"""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, app_context, current_tenant
from api.job_waiting import heard
from api.query import Query
from api.webhooks.responses import attempt_shown, json_response
from api.webhooks.schemas import TestBody, read_body
from api.webhooks.url_validation import delivery_host, to_stored
from shared import ids
from shared.jobs import DeliveryState
from shared.store.delivery_log import Entry, read_delivery, send_test

#: Added to what one attempt may take: for the worker to come to it.
QUEUE_SECONDS = 5.0
_OPEN = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


async def send_test_event(request: Request) -> Response:
    """Send one signed test event, `webhook.test`, and show the exact request and what came of it.

    Where no worker came to it in time, the status is `pending`; read the delivery later.
    """
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    body = await read_body(request, TestBody)
    webhook = to_stored({**body.model_dump(mode="json"), "events": []})
    delivery_id = ids.message_id()
    data = {"id": delivery_id, "status": "test", "version": 1, "run": 1, "metadata": {}}
    with parts.notifications.subscribe(delivery_id) as subscription:
        ends_at = time.monotonic() + parts.settings.webhook_timeout_seconds + QUEUE_SECONDS
        host = delivery_host(body.url)
        await parts.committer.run(
            send_test(delivery_id, tenant=principal.tenant, host=host, webhook=webhook, data=data)
        )
        while True:
            entry = await _read(parts, delivery_id, principal.tenant)
            if entry is None or entry.state not in _OPEN or parts.notifications.closing:
                break
            if not await heard(subscription, ends_at):
                break
    return json_response(_shown(delivery_id, body.url, entry))


async def _read(parts: AppContext, delivery_id: str, tenant: str) -> Entry | None:
    return await parts.committer.run(read_delivery(delivery_id, tenant=tenant))


def _shown(delivery_id: str, url: str, entry: Entry | None) -> dict[str, Any]:
    attempt = entry.attempts[-1] if entry and entry.attempts else None
    request = attempt and {"method": "POST", "url": url, **attempt["request"]}
    return {
        "id": delivery_id,
        "status": (entry.state if entry else DeliveryState.PENDING).value,
        "request": request,
        "attempt": attempt_shown(attempt) if attempt else None,
    }
