"""Routes with a scope, a strict query, and their description."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from inspect import isclass
from typing import Any, ClassVar

from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import BEARER
from api.context import current_tenant
from api.jobs.schemas import Strict
from api.json_body import BOM, Body, checked
from api.problems import OURS, FieldError, ProblemShape, invalid, pointer, problems
from api.query import QueryModel, StrictRequest, unknown_message
from shared import api_keys


async def refuse_parameters(request: Request) -> None:
    """Refuse any query, for routes without parameters."""
    if request.scope["query_string"]:
        names = request.query_params
        faults = [FieldError(pointer("query", name), unknown_message(())) for name in names]
        if faults:
            raise invalid(faults)


async def refuse_members(request: Request) -> None:
    """Refuse members of a body, for routes without one; `{}` and `null` have none."""
    raw = (await request.body()).removeprefix(BOM).strip()
    faults = [] if raw in {b"", b"null"} else checked(Strict, raw)
    if isinstance(faults, list) and faults:
        raise invalid(faults)


class Route(APIRoute):
    """A route that refuses unknown parameters and members, and declares its scope."""

    #: Accepted schemes of `Authorization`.
    schemes: ClassVar[frozenset[str]] = BEARER
    #: Whether a body is refused where none is expected.
    refuses_members: ClassVar[bool] = True

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        dependencies: Sequence[Dependency] | None = None,
        **options: Any,  # noqa: ANN401  FastAPI's own, of which there are thirty
    ) -> None:
        """Add what holds for every route to what FastAPI reads from the signature."""
        needed = list(dependencies or ())
        own = get_dependant(path=path, call=endpoint)
        #: the body, for the OpenAPI document
        self.body = next((call for call in _calls(own) if isinstance(call, Body)), None)
        if not _query_names(own):
            needed.append(Depends(refuse_parameters))
        changes = not {"POST", "DELETE"}.isdisjoint(options.get("methods") or ())
        if self.refuses_members and not self.body and changes:
            needed.append(Depends(refuse_members))
        super().__init__(path, endpoint, dependencies=needed, **options)
        #: the scope a key needs; routes without authentication ignore it
        self.scope = scope_of(min(self.methods or ()), path)
        self.parameters = _query_names(self.dependant)
        is_keyed = current_tenant in _calls(self.dependant)
        keys = [{"key": [self.scope.value]}] if is_keyed else []
        described = {"requestBody": self.body.described()} if self.body else {}
        self.openapi_extra = {"security": keys, **described, **(self.openapi_extra or {})}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with a strictly validated query."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            has_query = request.scope["query_string"]
            return await handle(
                StrictRequest(request.scope, request.receive) if has_query else request
            )

        return strict


class OpenRoute(Route):
    """A route without authentication, with any query."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        """Leave the query unchecked."""
        APIRoute.__init__(self, path, endpoint, **options)
        self.scope, self.parameters, self.body = scope_of("GET", path), (), None
        self.openapi_extra = {"security": [], **(self.openapi_extra or {})}


class FastRoute:
    """Middleware that passes the requests of one route to a function, around FastAPI's layers.

    An accept takes 210 µs of CPU this way and 320 µs by its route, without the store. The route
    stays and serves requests with a query; the same tests run on both.
    """

    def __init__(
        self, app: ASGIApp, *, route: Route, serve: Callable[[Request], Awaitable[Response]]
    ) -> None:
        """Pass the requests of `route`, whose path has no parameters, to `serve`."""
        self._app = app
        self._route = route
        self._serve = serve
        self._method = min(route.methods or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if (
            scope["type"] != "http"
            or scope["path"] != self._route.path
            or scope["method"] != self._method
            or scope["query_string"]
        ):
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        response = await self._serve(Request(scope, receive, send))
        await response(scope, receive, send)


def tenant_router(
    tag: str, *, route_class: type[Route] = Route, shape: ProblemShape = OURS
) -> APIRouter:
    """Return a router whose routes all require a key with their scope; `shape` is of problems."""
    return APIRouter(
        tags=[tag],
        route_class=route_class,
        dependencies=[Depends(current_tenant)],
        responses=problems(shape=shape),
        generate_unique_id_function=_operation_id,
    )


def open_router(tag: str, **options: Any) -> APIRouter:  # noqa: ANN401  FastAPI's own
    """Return a router whose routes require no key, unless one does so itself."""
    ours = {"route_class": Route, "generate_unique_id_function": _operation_id}
    return APIRouter(tags=[tag], **{**ours, **options})


def _operation_id(route: APIRoute) -> str:
    return route.name


def scope_of(method: str, path: str) -> api_keys.Scope:
    """Return the scope of a route, by a rule, so that no route is without one.

    A key that may only read learns no secrets.
    """
    reads = method == "GET" and not path.endswith("/secret")
    if path.startswith("/ops/"):
        return api_keys.Scope.OPS_READ if reads else api_keys.Scope.OPS_WRITE
    return api_keys.Scope.JOBS_READ if reads else api_keys.Scope.JOBS_WRITE


def _query_names(dependant: Dependant) -> tuple[str, ...]:
    """Return the query parameters of a route, in order."""
    own = [name for one in dependant.query_params for name in _names(one.field_info.annotation)]
    return (*own, *(name for one in dependant.dependencies for name in _query_names(one)))


def _names(annotation: object) -> Iterator[str]:
    """Yield the names of a parameter model; each query is read by one."""
    if isclass(annotation) and issubclass(annotation, QueryModel):
        for name, field in annotation.model_fields.items():
            yield field.alias or name


def _calls(dependant: Dependant) -> Iterator[object]:
    """Yield all dependencies of a route, including nested ones."""
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)
