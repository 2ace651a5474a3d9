"""A batch as a response."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from shared.serializers import batch_shown
from shared.store.batches import BatchState


def batch_response(
    state: BatchState, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a batch."""
    all_headers = {"Cache-Control": "private, no-cache", **(headers or {})}
    body = orjson.dumps(batch_shown(state.batch, state.now_ms))
    return Response(body, status, all_headers, "application/json")
