"""Who asks, and what the key is good for."""

from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import CurrentTenant
from api.ops.tenants import answered
from api.problems import problems
from api.routing import tenant_router
from shared.api_keys import Scope
from shared.store.api_keys import OPERATORS

router = tenant_router("operators")


class Me(TypedDict):
    """Who asks."""

    key_id: str
    tenant: str | None
    scopes: list[Scope]


@router.get(
    "/ops/v1/me",
    response_model=Me,
    response_description="What the key is good for",
    responses=problems(),
)
async def get_me(principal: CurrentTenant) -> Response:
    """Tell what the key that asks opens: a page shows no button that it would be refused."""
    tenant = None if principal.tenant == OPERATORS else principal.tenant
    shown: Me = {
        "key_id": principal.key_id,
        "tenant": tenant,
        "scopes": sorted(principal.scopes),
    }
    return answered(shown)
