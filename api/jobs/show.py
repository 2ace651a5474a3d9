"""A job as a response."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from shared.store.reading import Standing
from shared.view import View


def version_tag(standing: Standing) -> str:
    """Give a job's entity tag: weak, since its position changes without it."""
    return f'W/"{standing.job.version}"'


def job_response(
    view: View, standing: Standing, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a job with its entity tag."""
    told = {"ETag": version_tag(standing), "Cache-Control": "private, no-cache", **(headers or {})}
    return Response(orjson.dumps(view.job(standing)), status, told, "application/json")
