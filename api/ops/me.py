"""Who asks, and what the key is good for."""

from starlette.requests import Request
from starlette.responses import Response

from api.ops.tenants import answered
from api.parts import tenant_of
from api.query import Query


async def get_me(request: Request) -> Response:
    """Tell what the key that asks opens: a page shows no button that it would be refused."""
    holder = await tenant_of(request)
    Query(request).done()
    scopes = sorted(scope.value for scope in holder.scopes)
    return answered({"key_id": holder.key_id, "tenant": holder.tenant, "scopes": scopes})
