"""Health, readiness, metrics, the OpenAPI document, and descriptions of problems."""

import asyncio

import orjson
from fastapi import Depends
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.context import Context
from api.problems import KINDS, Problem, not_found, problems
from api.routing import OpenRoute, open_router, refuse_parameters

router = open_router("health", route_class=OpenRoute)


@router.get("/healthz", response_description="The process is running")
async def healthz() -> Response:
    """Return that the process is alive; nothing else is checked."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get(
    "/readyz",
    response_description="The service accepts jobs",
    responses=problems("not_ready", keyed=False),
)
async def readyz(parts: Context) -> Response:
    """Return whether the service accepts jobs, and if not, why."""
    reasons = parts.redis_monitor.reasons
    if reasons:
        raise Problem("not_ready", " ".join(reasons), more={"reasons": reasons})
    return Response(b'{"status":"ready"}', media_type="application/json")


@router.get("/metrics", response_class=PlainTextResponse, response_description="Prometheus")
async def get_metrics(parts: Context) -> Response:
    """Return the metrics of this process and of the service, for Prometheus."""
    text = generate_latest(REGISTRY) + generate_latest(parts.redis_monitor.registry)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/openapi.json", include_in_schema=False)
async def get_document(request: Request) -> Response:
    """Return the OpenAPI document, built in a thread because it would block the event loop."""
    document = await asyncio.to_thread(request.app.openapi)
    return Response(orjson.dumps(document), media_type="application/json")


@router.get(
    "/problems/{code}",
    response_description="What this code means",
    responses=problems("not_found", "invalid_request", keyed=False),
    dependencies=[Depends(refuse_parameters)],
)
async def get_problem(code: str) -> Response:
    """Describe the `type` of a problem."""
    kind = KINDS.get(code)
    if kind is None:
        raise not_found("kind of problem")
    body = {"code": code, "status": kind.status, "title": kind.title}
    return Response(orjson.dumps(body), media_type="application/json")
