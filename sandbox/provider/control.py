"""The control routes for tests: `/_sandbox/…` and `/healthz`."""

from collections.abc import Awaitable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from sandbox.provider.behavior import BadBody
from sandbox.provider.error_responses import json_response
from sandbox.provider.state import state_of


class Part(Protocol):
    """A part of the sandbox that a body replaces."""

    def replace(self, body: bytes) -> Awaitable[None] | None:
        """Set the part from JSON; raise BadBody and change nothing if it is invalid."""
        ...

    def shown(self) -> object:
        """Return the part as JSON."""
        ...


async def _replaced(part: Part, request: Request) -> Response:
    """Replace a part by the body of the request; return it as it is then."""
    try:
        started = part.replace(await request.body())
        if started is not None:
            await started
    except BadBody as bad:
        return _bad(bad)
    return json_response(part.shown())


async def show_behavior(request: Request) -> Response:
    """Return the behaviour."""
    return json_response(state_of(request).behavior.shown())


async def put_behavior(request: Request) -> Response:
    """Set the behaviour."""
    return await _replaced(state_of(request).behavior, request)


async def reset_behavior(request: Request) -> Response:
    """Reset the behaviour."""
    state_of(request).behavior.reset()
    return Response(status_code=204)


async def show_images(request: Request) -> Response:
    """Return the state of the image host, and its port if it has its own."""
    return json_response(state_of(request).images.shown())


async def put_images(request: Request) -> Response:
    """Set the state of the image host."""
    return await _replaced(state_of(request).images, request)


async def show_models(request: Request) -> Response:
    """Return how the models differ from the catalog."""
    return json_response(state_of(request).models.shown())


async def put_models(request: Request) -> Response:
    """Set how the models differ from the catalog."""
    return await _replaced(state_of(request).models, request)


async def show_keys(request: Request) -> Response:
    """Return the valid keys; null means any."""
    return json_response(state_of(request).keys.shown())


async def put_keys(request: Request) -> Response:
    """Set the valid keys."""
    return await _replaced(state_of(request).keys, request)


async def show_calls(request: Request) -> Response:
    """Return all received calls, in order."""
    return json_response({"calls": state_of(request).call_log.shown()})


async def clear_calls(request: Request) -> Response:
    """Delete the log of calls; records and their images stay."""
    state_of(request).call_log.clear()
    return Response(status_code=204)


async def healthy(_request: Request) -> Response:
    """Return that the process is alive."""
    return json_response({"status": "ok"})


def _bad(bad: BadBody) -> Response:
    faults = [{"pointer": pointer, "message": message} for pointer, message in bad.faults]
    return json_response({"errors": faults}, 422)
