"""A batch as a response."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from shared.store.batches import BatchState
from shared.view import batch_shown


def batch_response(
    state: BatchState, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a batch."""
    told = {"Cache-Control": "private, no-cache", **(headers or {})}
    body = orjson.dumps(batch_shown(state.batch, state.now_ms))
    return Response(body, status, told, "application/json")
