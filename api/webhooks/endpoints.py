"""Webhook endpoints: subscriptions, state, and signing secrets."""

import re
from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from api.context import AppContext, Context, CurrentTenant
from api.json_body import JsonBody
from api.problems import BODY, FieldError, Problem, invalid, not_found, problems, tenant_gone
from api.routing import tenant_router
from api.webhooks.responses import (
    Endpoint,
    EndpointPage,
    WebhookSecret,
    endpoint_shown,
    json_response,
)
from api.webhooks.schemas import (
    EndpointBody,
    EndpointSettingsBody,
    PageQuery,
    encode_delivery_cursor,
)
from api.webhooks.url_validation import delivery_host
from shared.serializers import rfc3339
from shared.signing import new_webhook_secret
from shared.store.endpoints import (
    ENDPOINTS_MAX,
    STANDING_MAX,
    delete_endpoint,
    enable_endpoint,
    ensure_endpoint,
    list_endpoints,
    read_endpoint,
    rotate_secret,
    update_endpoint,
)
from shared.store.endpoints import Endpoint as StoredEndpoint
from shared.store.functions import SECRET_MS
from shared.store.tenants import Principal

ENDPOINT_ID = re.compile(r"ep_[0-9a-f]{24}")
_ONE = "/v1/webhooks/endpoints/{endpoint_id}"

_UNUSED = (
    "needs `events`: only a standing endpoint sends it. Set it in the `webhook` of the jobs instead"
)

router = tenant_router("webhooks")


@router.get(
    "/v1/webhooks/endpoints",
    response_model=EndpointPage,
    response_description="A page, newest first",
)
async def get_endpoints(
    parts: Context, principal: CurrentTenant, query: Annotated[PageQuery, Query()]
) -> Response:
    """List standing endpoints, and those that deliveries were sent to, newest first.

    An endpoint is a URL without its query: URLs that differ in the query only are one endpoint.
    """
    call = list_endpoints(principal.tenant, before=query.below, limit=query.limit)
    page = await parts.committer.run(call)
    shown: EndpointPage = {
        "data": [endpoint_shown(one) for one in page.endpoints],
        "next_cursor": encode_delivery_cursor(page.before),
    }
    return json_response(shown)


@router.get(
    _ONE,
    response_model=Endpoint,
    response_description="The endpoint",
    responses=problems("not_found"),
)
async def get_endpoint(parts: Context, principal: CurrentTenant, endpoint_id: str) -> Response:
    """Read an endpoint."""
    return json_response(endpoint_shown(await existing(parts, endpoint_id, principal.tenant)))


@router.post(
    "/v1/webhooks/endpoints",
    response_model=Endpoint,
    response_description="The endpoint",
    responses=problems(
        *BODY, "too_many_endpoints", "too_many_standing_endpoints", "redis_full", "outcome_unknown"
    ),
)
async def create_endpoint(
    parts: Context,
    principal: CurrentTenant,
    body: Annotated[EndpointBody, Depends(JsonBody(EndpointBody))],
) -> Response:
    """Register an endpoint. With `events` it is a standing endpoint.

    A standing endpoint gets these events of all jobs and batches that name no webhook of their own.
    If the endpoint exists, the members that are sent are set, and the others stay.
    """
    call = ensure_endpoint(
        principal.tenant,
        api_key=principal.key_id,
        url=body.url,
        host=delivery_host(body.url),
        settings=body.settings,
    )
    found = await parts.committer.run(call)
    if found == "gone":
        raise tenant_gone()
    if found == "full":
        raise Problem("too_many_endpoints", f"The tenant has {ENDPOINTS_MAX:,} endpoints or more.")
    _check_result(found, body)
    return json_response(endpoint_shown(await existing(parts, found, principal.tenant)))


def _check_result(result: str, body: EndpointSettingsBody) -> None:
    """Raise a Problem if nothing was set."""
    if result == "not_standing":
        given = {"/headers": bool(body.headers), "/payload": body.payload != "full"}
        raise invalid(
            [FieldError(pointer, _UNUSED) for pointer, is_given in given.items() if is_given]
        )
    if result == "full_standing":
        raise Problem(
            "too_many_standing_endpoints",
            f"The tenant has {STANDING_MAX} standing endpoints. Delete one first.",
        )


@router.patch(
    _ONE,
    response_model=Endpoint,
    response_description="The endpoint",
    responses=problems(*BODY, "not_found", "too_many_standing_endpoints", "outcome_unknown"),
)
async def patch_endpoint(
    parts: Context,
    principal: CurrentTenant,
    endpoint_id: str,
    body: Annotated[EndpointSettingsBody, Depends(JsonBody(EndpointSettingsBody))],
) -> Response:
    """Change an endpoint. Absent members stay; `events` make it a standing endpoint.

    `enabled: true` enables a disabled endpoint, and its pending deliveries are sent.
    """
    _check_id(endpoint_id)
    if not body.model_fields_set:
        raise invalid([FieldError("", "names nothing to change")])
    call = update_endpoint(endpoint_id, tenant=principal.tenant, settings=body.settings)
    _check_result(await parts.committer.run(call), body)
    return json_response(endpoint_shown(await existing(parts, endpoint_id, principal.tenant)))


@router.delete(
    _ONE,
    status_code=204,
    response_description="The endpoint is deleted",
    responses=problems("not_found", "outcome_unknown"),
)
async def remove_endpoint(parts: Context, principal: CurrentTenant, endpoint_id: str) -> Response:
    """Delete an endpoint: its subscription, its secret and its pending deliveries.

    Settled deliveries stay readable. Deliveries that jobs requested by a webhook of their own stay
    too; until they are settled, the endpoint remains, without subscription and secret.
    """
    _check_id(endpoint_id)
    call = delete_endpoint(endpoint_id, tenant=principal.tenant)
    while (result := await parts.committer.run(call)) == "more":
        pass
    if result == "missing":
        raise not_found("endpoint")
    return Response(status_code=204)


@router.post(
    f"{_ONE}/enable",
    operation_id="enable_endpoint",
    response_model=Endpoint,
    response_description="The endpoint, enabled",
    responses=problems("not_found", "outcome_unknown"),
)
async def enable(parts: Context, principal: CurrentTenant, endpoint_id: str) -> Response:
    """Enable an endpoint, or retry a failing one at once; its pending deliveries are sent.

    The newest is sent first; superseded deliveries of a job are skipped.
    """
    _check_id(endpoint_id)
    if not await parts.committer.run(enable_endpoint(endpoint_id, tenant=principal.tenant)):
        raise not_found("endpoint")
    return json_response(endpoint_shown(await existing(parts, endpoint_id, principal.tenant)))


@router.post(
    "/v1/webhooks/secret/rotate",
    operation_id="rotate_secret",
    response_model=WebhookSecret,
    response_description="The new secret, shown now only",
    responses=problems("outcome_unknown"),
)
async def rotate_tenant(parts: Context, principal: CurrentTenant) -> Response:
    """Create a secret for all endpoints without one of their own, shown only in this response.

    The previous one also signs for another 24 hours.
    """
    return await _rotate(parts, principal, None)


@router.post(
    f"{_ONE}/secret/rotate",
    operation_id="rotate_endpoint_secret",
    response_model=WebhookSecret,
    response_description="The new secret, shown now only",
    responses=problems("not_found", "outcome_unknown"),
)
async def rotate_endpoint(parts: Context, principal: CurrentTenant, endpoint_id: str) -> Response:
    """Create a secret for one endpoint, its first or its next; it is shown only in this response.

    The previous one, its own or the tenant's, also signs for another 24 hours.
    """
    _check_id(endpoint_id)
    return await _rotate(parts, principal, endpoint_id)


@router.delete(
    f"{_ONE}/secret",
    status_code=204,
    response_description="The tenant's secret signs",
    responses=problems("not_found", "outcome_unknown"),
)
async def drop_secret(parts: Context, principal: CurrentTenant, endpoint_id: str) -> Response:
    """Remove the endpoint's own secret: the tenant's signs, and its own for another 24 hours."""
    _check_id(endpoint_id)
    await _set_secret(parts, principal, "", endpoint_id)
    return Response(status_code=204)


async def _rotate(parts: AppContext, principal: Principal, endpoint_id: str | None) -> Response:
    secret = new_webhook_secret()
    shown = secret_shown(parts, secret)
    await _set_secret(parts, principal, secret, endpoint_id)
    return json_response(shown)


async def _set_secret(
    parts: AppContext, principal: Principal, secret: str, endpoint_id: str | None
) -> None:
    call = rotate_secret(
        principal.tenant, secret, api_key=principal.key_id, endpoint_id=endpoint_id
    )
    result = await parts.committer.run(call)
    if result == "gone":
        raise tenant_gone()
    if result == "missing":
        raise not_found("endpoint")


def secret_shown(parts: AppContext, secret: str) -> WebhookSecret:
    """Write a new secret, and until when the previous one also signs."""
    ends = rfc3339(int(parts.redis_monitor.now_ms()) + SECRET_MS)
    return {"secret": secret, "previous_signs_until": ends}


def _check_id(endpoint_id: str) -> None:
    """Check an id; malformed ids are not looked up."""
    if not ENDPOINT_ID.fullmatch(endpoint_id):
        raise not_found("endpoint")


async def existing(parts: AppContext, endpoint_id: str, tenant: str) -> StoredEndpoint:
    """Read an endpoint of this tenant; raise the Problem `not_found` if there is none."""
    _check_id(endpoint_id)
    endpoint = await parts.committer.run(read_endpoint(endpoint_id, tenant=tenant))
    if endpoint is None:
        raise not_found("endpoint")
    return endpoint
