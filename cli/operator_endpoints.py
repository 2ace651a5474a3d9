"""The endpoints of operators from the command line, directly on Redis.

Each function returns what the HTTP route would, and ends the program as those of `cli.admin` do.
"""

import time
from collections.abc import Mapping
from typing import NoReturn

from api.ops.operator_endpoints import too_many
from api.webhooks.endpoints import ENDPOINT_ID
from api.webhooks.responses import operator_endpoint_shown
from api.webhooks.schemas import OperatorEndpointBody, OperatorEndpointSettingsBody
from api.webhooks.test_event import (
    event_shown,
    is_settled,
    queue_call,
    wait_seconds,
    webhook_of,
)
from api.webhooks.url_validation import delivery_host
from cli.admin import USAGE, AdminSession, Shown, checked_options, end, open_session
from shared.api_keys import OPERATORS
from shared.signing import new_webhook_secret
from shared.store import endpoints
from shared.store.delivery_log import read_delivery

#: How often the result of a test event is read, in seconds.
_POLL_SECONDS = 0.2


def create(url: str, options: Mapping[str, object]) -> Shown:
    """Create an endpoint, or set the given options of one; return it, with its secret if new."""
    body = checked_options({"url": url, **options}, OperatorEndpointBody)
    secret = new_webhook_secret()
    with open_session() as session:
        call = endpoints.ensure_operator_endpoint(
            session.audit_context,
            url=body.url,
            host=delivery_host(body.url),
            secret=secret,
            settings=body.settings,
        )
        found, is_new = session.run(call)
        if found in {"full", "full_standing"}:
            end(too_many().detail)
        shown = operator_endpoint_shown(_existing(session, found))
    return {**shown, "secret": secret} if is_new else dict(shown)


def list_all() -> list[Shown]:
    """Return the endpoints, newest first."""
    with open_session() as session:
        call = endpoints.list_endpoints(OPERATORS, limit=endpoints.STANDING_MAX)
        return [operator_endpoint_shown(one) for one in session.run(call).endpoints]


def update(endpoint_id: str, options: Mapping[str, object]) -> Shown:
    """Set the given options of an endpoint; return it."""
    body = checked_options(options, OperatorEndpointSettingsBody)
    if not options:
        end("Name what to change, such as --no-enabled.", USAGE)
    with open_session() as session:
        _existing(session, endpoint_id)
        session.run(
            endpoints.update_operator_endpoint(session.audit_context, endpoint_id, body.settings)
        )
        return operator_endpoint_shown(_existing(session, endpoint_id))


def delete(endpoint_id: str) -> Shown:
    """Delete an endpoint with its pending deliveries; return its id."""
    with open_session() as session:
        _existing(session, endpoint_id)
        call = endpoints.delete_operator_endpoint(session.audit_context, endpoint_id)
        while session.run(call) == "more":
            pass
    return {"deleted": endpoint_id}


def enable(endpoint_id: str) -> Shown:
    """Enable an endpoint; its pending deliveries are sent. Return it."""
    with open_session() as session:
        _existing(session, endpoint_id)
        session.run(endpoints.enable_any_endpoint(session.audit_context, endpoint_id))
        return operator_endpoint_shown(_existing(session, endpoint_id))


def rotate(endpoint_id: str) -> Shown:
    """Create a new secret for an endpoint; return it."""
    secret = new_webhook_secret()
    with open_session() as session:
        _existing(session, endpoint_id)
        session.run(endpoints.rotate_any_secret(session.audit_context, endpoint_id, secret))
    return {"secret": secret}


def send_test(endpoint_id: str) -> Shown:
    """Send a test event to an endpoint; return the request and its result."""
    with open_session() as session:
        webhook = webhook_of(_existing(session, endpoint_id))
        delivery_id, call = queue_call(OPERATORS, webhook)
        session.run(call)
        ends_at = time.monotonic() + wait_seconds(session.settings)
        while True:
            entry = session.run(read_delivery(delivery_id, tenant=OPERATORS))
            if is_settled(entry) or time.monotonic() > ends_at:
                return event_shown(delivery_id, webhook["url"], entry)
            time.sleep(_POLL_SECONDS)


def _existing(session: AdminSession, endpoint_id: str) -> endpoints.Endpoint:
    if not ENDPOINT_ID.fullmatch(endpoint_id):
        _end_without(endpoint_id)
    found = session.run(endpoints.read_endpoint(endpoint_id, tenant=OPERATORS))
    if found is None:
        _end_without(endpoint_id)
    return found


def _end_without(endpoint_id: str) -> NoReturn:
    end(f"Operators have no endpoint {endpoint_id}. `darkroom ops-webhooks list` lists them.")
