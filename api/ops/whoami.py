"""Who asks, and what the key is good for."""

from starlette.requests import Request
from starlette.responses import Response

from api.context import current_tenant
from api.ops.tenants import answered
from api.query import Query
from shared.store.api_keys import OPERATORS


async def get_me(request: Request) -> Response:
    """Tell what the key that asks opens: a page shows no button that it would be refused."""
    principal = await current_tenant(request)
    Query(request).done()
    scopes = sorted(scope.value for scope in principal.scopes)
    tenant = None if principal.tenant == OPERATORS else principal.tenant
    return answered({"key_id": principal.key_id, "tenant": tenant, "scopes": scopes})
