"""The provider as an ASGI application."""

import secrets
from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.provider import control
from sandbox.provider.behavior import Behavior
from sandbox.provider.call_log import CallLog
from sandbox.provider.downloads import download
from sandbox.provider.generate import generate
from sandbox.provider.image_cache import ImageCache
from sandbox.provider.images import ImageHost
from sandbox.provider.keys import Keys
from sandbox.provider.listening import ImagePort
from sandbox.provider.lookups import models, result
from sandbox.provider.models import Models
from sandbox.provider.records import Records
from sandbox.provider.signed_urls import Addresses
from sandbox.provider.state import State
from shared.model_catalog import Catalog, load_catalog

ROUTES = (
    Route("/api/features", generate, methods=["POST"]),
    Route("/api/results/{record_id}", result, methods=["GET"]),
    Route("/models", models, methods=["GET"]),
    Route("/assets/{path:path}", download, methods=["GET"]),
    Route("/_sandbox/behavior", control.show_behavior, methods=["GET"]),
    Route("/_sandbox/behavior", control.put_behavior, methods=["PUT"]),
    Route("/_sandbox/behavior", control.reset_behavior, methods=["DELETE"]),
    Route("/_sandbox/images", control.show_images, methods=["GET"]),
    Route("/_sandbox/images", control.put_images, methods=["PUT"]),
    Route("/_sandbox/models", control.show_models, methods=["GET"]),
    Route("/_sandbox/models", control.put_models, methods=["PUT"]),
    Route("/_sandbox/keys", control.show_keys, methods=["GET"]),
    Route("/_sandbox/keys", control.put_keys, methods=["PUT"]),
    Route("/_sandbox/calls", control.show_calls, methods=["GET"]),
    Route("/_sandbox/calls", control.clear_calls, methods=["DELETE"]),
    Route("/healthz", control.healthy, methods=["GET"]),
)


def create_app(
    base_url: str | None = None,
    *,
    latency_seconds: float = 0.3,
    url_lifetime_seconds: float = 600,
    keys: Iterable[str] | None = None,
    image_port: ImagePort | None = None,
    catalog: Catalog | None = None,
) -> Starlette:
    """Build a provider with its own call log and behaviour.

    Image URLs start with `base_url`, or with the caller's URL if it is None. `keys` are the valid
    API keys, None means any that is not empty; `image_port` serves images besides the main port;
    `catalog` has the models, by default the shipped ones.
    Connection faults (`drop`, `truncated`, `wrong_length`) need `sandbox.provider.server` around
    it.
    """
    app = Starlette(routes=ROUTES, exception_handlers={ClientDisconnect: _left})
    app.state.provider = State(
        behavior=Behavior(latency_seconds),
        keys=Keys(keys),
        call_log=CallLog(),
        records=Records(),
        addresses=Addresses(secrets.token_bytes(32), url_lifetime_seconds),
        image_cache=ImageCache(),
        images=ImageHost(image_port),
        models=Models(load_catalog() if catalog is None else catalog),
        base_url=base_url,
    )
    return app


async def _left(_request: Request, _error: Exception) -> Response:
    """Respond to nobody: the client disconnected during its request."""
    return Response(status_code=400)
