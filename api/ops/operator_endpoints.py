"""The webhook endpoints of operators, which get the events of the service."""

from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator
from api.json_body import JsonBody
from api.ops.tenants import answered
from api.problems import BODY, FieldError, Problem, invalid, not_found, problems
from api.routing import tenant_router
from api.webhooks.endpoints import ENDPOINT_ID, existing, secret_shown
from api.webhooks.responses import OperatorEndpoint, WebhookSecret, operator_endpoint_shown
from api.webhooks.schemas import (
    OperatorEndpointBody,
    OperatorEndpointSettingsBody,
    PageQuery,
    encode_delivery_cursor,
)
from api.webhooks.test_event import TestEvent, send, webhook_of
from api.webhooks.url_validation import delivery_host
from shared.api_keys import OPERATORS
from shared.signing import new_webhook_secret
from shared.store.endpoints import (
    STANDING_MAX,
    delete_operator_endpoint,
    enable_any_endpoint,
    ensure_operator_endpoint,
    list_endpoints,
    rotate_any_secret,
    update_operator_endpoint,
)

_ALL = "/ops/v1/webhooks/endpoints"
_ONE = f"{_ALL}/{{endpoint_id}}"

router = tenant_router("operators")


class OperatorEndpointPage(TypedDict):
    """A page of endpoints of operators."""

    data: list[OperatorEndpoint]
    next_cursor: str | None


class SetOperatorEndpoint(OperatorEndpoint):
    """An endpoint of operators, with its secret if it is new."""

    secret: str | None


@router.get(_ALL, response_model=OperatorEndpointPage, response_description="A page, newest first")
async def get_operator_endpoints(parts: Context, query: Annotated[PageQuery, Query()]) -> Response:
    """List the endpoints that get events of the service, newest first."""
    call = list_endpoints(OPERATORS, before=query.below, limit=query.limit)
    page = await parts.committer.run(call)
    shown: OperatorEndpointPage = {
        "data": [operator_endpoint_shown(one) for one in page.endpoints],
        "next_cursor": encode_delivery_cursor(page.before),
    }
    return answered(shown)


@router.post(
    _ALL,
    response_model=SetOperatorEndpoint,
    response_description="The endpoint; its secret is shown only when it is created",
    responses=problems(*BODY, "too_many_standing_endpoints", "redis_full"),
)
async def create_operator_endpoint(
    parts: Context,
    audit_context: CurrentOperator,
    body: Annotated[OperatorEndpointBody, Depends(JsonBody(OperatorEndpointBody))],
) -> Response:
    """Create an endpoint for events of the service. It also gets the events of open episodes.

    If the endpoint exists, the members that are sent are set, and the others stay.
    """
    secret = new_webhook_secret()
    call = ensure_operator_endpoint(
        audit_context,
        url=body.url,
        host=delivery_host(body.url),
        secret=secret,
        settings=body.settings,
    )
    found, is_new = await parts.committer.run(call)
    if found in {"full", "full_standing"}:
        raise too_many()
    endpoint = operator_endpoint_shown(await existing(parts, found, OPERATORS))
    shown: SetOperatorEndpoint = {**endpoint, "secret": secret if is_new else None}
    return answered(shown)


@router.get(
    _ONE,
    response_model=OperatorEndpoint,
    response_description="The endpoint",
    responses=problems("not_found"),
)
async def get_operator_endpoint(parts: Context, endpoint_id: str) -> Response:
    """Read an endpoint of operators."""
    return await _answer(parts, endpoint_id)


@router.patch(
    _ONE,
    response_model=OperatorEndpoint,
    response_description="The endpoint",
    responses=problems(*BODY, "not_found"),
)
async def patch_operator_endpoint(
    parts: Context,
    audit_context: CurrentOperator,
    endpoint_id: str,
    body: Annotated[OperatorEndpointSettingsBody, Depends(JsonBody(OperatorEndpointSettingsBody))],
) -> Response:
    """Change an endpoint of operators. Absent members stay; `enabled` pauses and resumes it."""
    await existing(parts, endpoint_id, OPERATORS)
    if not body.model_fields_set:
        raise invalid([FieldError("", "names nothing to change")])
    call = update_operator_endpoint(audit_context, endpoint_id, body.settings)
    result = await parts.committer.run(call)
    if result == "missing":
        raise not_found("endpoint")
    return await _answer(parts, endpoint_id)


@router.delete(
    _ONE,
    status_code=204,
    response_description="The endpoint is deleted",
    responses=problems("not_found"),
)
async def remove_operator_endpoint(
    parts: Context, audit_context: CurrentOperator, endpoint_id: str
) -> Response:
    """Delete an endpoint of operators, with its secret and its pending deliveries."""
    if not ENDPOINT_ID.fullmatch(endpoint_id):
        raise not_found("endpoint")
    call = delete_operator_endpoint(audit_context, endpoint_id)
    while (result := await parts.committer.run(call)) == "more":
        pass
    if result == "missing":
        raise not_found("endpoint")
    return Response(status_code=204)


@router.post(
    f"{_ONE}/test",
    operation_id="test_operator_endpoint",
    response_model=TestEvent,
    response_description="The request and its result",
    responses=problems("not_found", "redis_full"),
)
async def test_operator_endpoint(parts: Context, endpoint_id: str) -> Response:
    """Send one test event to an endpoint in its format; return the exact request and its result."""
    endpoint = await existing(parts, endpoint_id, OPERATORS)
    return await send(parts, OPERATORS, webhook_of(endpoint))


@router.post(
    f"{_ONE}/enable",
    operation_id="enable_operator_endpoint",
    response_model=OperatorEndpoint,
    response_description="The endpoint, enabled",
    responses=problems("not_found"),
)
async def enable_operator_endpoint(
    parts: Context, audit_context: CurrentOperator, endpoint_id: str
) -> Response:
    """Enable an endpoint, or retry a failing one at once; its pending deliveries are sent."""
    await existing(parts, endpoint_id, OPERATORS)
    await parts.committer.run(enable_any_endpoint(audit_context, endpoint_id))
    return await _answer(parts, endpoint_id)


@router.post(
    f"{_ONE}/secret/rotate",
    operation_id="rotate_operator_secret",
    response_model=WebhookSecret,
    response_description="The new secret, shown now only",
    responses=problems("not_found"),
)
async def rotate_operator_secret(
    parts: Context, audit_context: CurrentOperator, endpoint_id: str
) -> Response:
    """Create a new secret; it is shown only in this response.

    The previous one also signs for another 24 hours.
    """
    await existing(parts, endpoint_id, OPERATORS)
    secret = new_webhook_secret()
    shown = secret_shown(parts, secret)
    if await parts.committer.run(rotate_any_secret(audit_context, endpoint_id, secret)) is None:
        raise not_found("endpoint")
    return answered(shown)


async def _answer(parts: AppContext, endpoint_id: str) -> Response:
    return answered(operator_endpoint_shown(await existing(parts, endpoint_id, OPERATORS)))


def too_many() -> Problem:
    """Return the Problem that operators have too many endpoints."""
    detail = f"Operators have {STANDING_MAX} endpoints. Delete one first."
    return Problem("too_many_standing_endpoints", detail)
