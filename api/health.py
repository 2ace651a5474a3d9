"""How the process is: alive, able to take work, and in numbers."""

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from api.context import app_context
from api.problems import KINDS, Problem, not_found
from api.query import Query


async def healthz(request: Request) -> Response:  # noqa: ARG001  every route is given its request
    """Say that the process lives. Nothing else is asked."""
    return Response(b'{"status":"ok"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    """Say whether the service can take work, and if not, why not."""
    reasons = app_context(request).redis_monitor.reasons
    if reasons:
        raise Problem("not_ready", " ".join(reasons), more={"reasons": reasons})
    return Response(b'{"status":"ready"}', media_type="application/json")


async def get_metrics(request: Request) -> Response:
    """Give this process' metrics, and those of the service as a whole, for Prometheus."""
    text = generate_latest(REGISTRY) + generate_latest(app_context(request).redis_monitor.registry)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def get_problem(request: Request, code: str) -> Response:
    """Explain the `type` of a problem."""
    Query(request).done()
    kind = KINDS.get(code)
    if kind is None:
        raise not_found("kind of problem")
    body = {"code": code, "status": kind.status, "title": kind.title}
    return Response(orjson.dumps(body), media_type="application/json")
