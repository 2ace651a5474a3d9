"""Routes that hand the request to their function and do nothing else.

FastAPI's own way to a function (dependencies, exit stacks, a model for each parameter) costs more
than all of ours; what it knows of the signature still goes into the API reference.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import BEARER
from shared import api_keys

Endpoint = Callable[..., Awaitable[Response]]


class Direct(APIRoute):
    """One method of one path. A GET answers HEAD too."""

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        *,
        docs: Mapping[str, Any] | None = None,
        schemes: Collection[str] = BEARER,
    ) -> None:
        """Route to `endpoint(request, **path parameters)`; `told` goes to the API reference.

        `schemes` are those of `Authorization` by which a key is taken.
        """
        self.schemes = schemes
        #: what a key must be for; routes that take none never ask
        self.scope = scope_of(method, path)
        documented = _with_scope(docs or {}, self.scope)
        super().__init__(path, endpoint, methods=[method], response_class=Response, **documented)
        self.app = _plain(endpoint)
        self._accepted = {method, "HEAD"} if method == "GET" else {method}

    @property
    def accepted(self) -> frozenset[str]:
        """The methods that are answered."""
        return frozenset(self._accepted)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether this route serves a request, wholly or but for its method."""
        match, child_scope = super().matches(scope)
        if match is Match.PARTIAL and scope["method"] in self._accepted:
            return Match.FULL, child_scope
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that was matched."""
        if scope["method"] in self._accepted:
            await self.app(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def scope_of(method: str, path: str) -> api_keys.Scope:
    """Say which scope a route needs: by a rule, so that none can be forgotten.

    Whoever may only read learns no secret.
    """
    reads = method == "GET" and not path.endswith("/secret")
    if path.startswith("/ops/"):
        return api_keys.Scope.OPS_READ if reads else api_keys.Scope.OPS_WRITE
    return api_keys.Scope.JOBS_READ if reads else api_keys.Scope.JOBS_WRITE


def _with_scope(docs: Mapping[str, Any], scope: api_keys.Scope) -> dict[str, Any]:
    """Name the scope wherever the reference says that a key is needed."""
    extra = docs.get("openapi_extra", {})
    security = [{name: [scope.value] for name in one} for one in extra.get("security", ())]
    return {**docs, "openapi_extra": {**extra, "security": security}}


def allowed(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """Give the methods that a path knows, as `Allow` names them.

    Where a path is named as it is, those count that name it, and not those with a part to be read.
    """
    fit = [
        route
        for route in routes
        if isinstance(route, Direct) and route.matches(scope)[0] is not Match.NONE
    ]
    named = [route for route in fit if route.path == scope["path"]] or fit
    return ", ".join(sorted(set().union(*(route.accepted for route in named))))


def _plain(endpoint: Endpoint) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await endpoint(request, **scope["path_params"])
        await response(scope, receive, send)

    return app
