"""The addresses for whoever tests against the provider: `/_sandbox/…` and `/healthz`."""

from starlette.requests import Request
from starlette.responses import Response

from sandbox.provider.behavior import BadBody
from sandbox.provider.error_responses import json_response
from sandbox.provider.state import state_of


async def show_behavior(request: Request) -> Response:
    """Show what will happen next."""
    return json_response(state_of(request).behavior.shown())


async def put_behavior(request: Request) -> Response:
    """Replace what will happen next."""
    behavior = state_of(request).behavior
    try:
        behavior.replace(await request.body())
    except BadBody as bad:
        return _bad(bad)
    return json_response(behavior.shown())


async def reset_behavior(request: Request) -> Response:
    """Go back to how the server began."""
    state_of(request).behavior.reset()
    return Response(status_code=204)


async def show_images(request: Request) -> Response:
    """Show how the image host fares, and its port if it has one of its own."""
    return json_response(state_of(request).images.shown())


async def put_images(request: Request) -> Response:
    """Choose how the image host fares."""
    images = state_of(request).images
    try:
        await images.replace(await request.body())
    except BadBody as bad:
        return _bad(bad)
    return json_response(images.shown())


async def show_keys(request: Request) -> Response:
    """Show the good keys; null is any."""
    return json_response(state_of(request).keys.shown())


async def put_keys(request: Request) -> Response:
    """Replace the good keys."""
    keys = state_of(request).keys
    try:
        keys.replace(await request.body())
    except BadBody as bad:
        return _bad(bad)
    return json_response(keys.shown())


async def show_calls(request: Request) -> Response:
    """Show everything received, in order."""
    return json_response({"calls": state_of(request).call_log.shown()})


async def clear_calls(request: Request) -> Response:
    """Forget what was received; the records and their images stay."""
    state_of(request).call_log.clear()
    return Response(status_code=204)


async def healthy(_request: Request) -> Response:
    """Say that the process lives."""
    return json_response({"status": "ok"})


def _bad(bad: BadBody) -> Response:
    faults = [{"pointer": pointer, "message": message} for pointer, message in bad.faults]
    return json_response({"errors": faults}, 422)
