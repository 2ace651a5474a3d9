"""Who asks, and what the key is good for."""

from starlette.requests import Request
from starlette.responses import Response

from api.ops.tenants import answered
from api.parts import tenant_of
from api.query import Query
from shared.store.access import OPERATORS


async def get_me(request: Request) -> Response:
    """Tell what the key that asks opens: a page shows no button that it would be refused."""
    holder = await tenant_of(request)
    Query(request).done()
    scopes = sorted(scope.value for scope in holder.scopes)
    tenant = None if holder.tenant == OPERATORS else holder.tenant
    return answered({"key_id": holder.key_id, "tenant": tenant, "scopes": scopes})
