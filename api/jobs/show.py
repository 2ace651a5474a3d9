"""A job as a response."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from shared.store.reading import Standing
from shared.view import View


def version_tag(standing: Standing) -> str:
    """Give a job's entity tag: weak, since its position changes without it."""
    return f'W/"{standing.job.version}"'


def unchanged(standing: Standing) -> Response:
    """Answer that the client has the job as it is, with what the 200 says of keeping it."""
    return Response(None, 304, _caching(standing))


def _caching(standing: Standing) -> Mapping[str, str]:
    return {"ETag": version_tag(standing), "Cache-Control": "private, no-cache"}


def job_response(
    view: View, standing: Standing, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a job with its entity tag."""
    told = {**_caching(standing), **(headers or {})}
    return Response(orjson.dumps(view.job(standing)), status, told, "application/json")
