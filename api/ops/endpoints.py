"""The receivers of all tenants, as far as an operator acts on them."""

from starlette.requests import Request
from starlette.responses import Response

from api.ops.tenants import answered
from api.parts import operator_of, parts_of
from api.problems import not_found
from api.query import Query
from api.webhooks.endpoints import existing
from api.webhooks.show import endpoint_shown
from shared.store.endpoints import enable_any_endpoint


async def enable_any(request: Request, endpoint_id: str) -> Response:
    """Switch a receiver on, or have a failing one asked at once; it gets what it missed.

    Where it is still ill, what is sent to it counts as failed again.
    """
    parts, deed = parts_of(request), await operator_of(request)
    Query(request).done()
    tenant = await parts.committer.run(enable_any_endpoint(deed, endpoint_id))
    if tenant is None:
        raise not_found("endpoint")
    return answered(
        {"tenant": tenant, **endpoint_shown(await existing(parts, endpoint_id, tenant))}
    )
