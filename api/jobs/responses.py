"""A job as a response."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from shared.serializers import View
from shared.store.job_queries import QueuedJob


def version_tag(queued_job: QueuedJob) -> str:
    """Give a job's entity tag: weak, since its position changes without it."""
    return f'W/"{queued_job.job.version}"'


def unchanged(queued_job: QueuedJob) -> Response:
    """Answer that the client has the job as it is, with what the 200 says of keeping it."""
    return Response(None, 304, _caching(queued_job))


def _caching(queued_job: QueuedJob) -> Mapping[str, str]:
    return {"ETag": version_tag(queued_job), "Cache-Control": "private, no-cache"}


def job_response(
    view: View, queued_job: QueuedJob, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a job with its entity tag."""
    all_headers = {**_caching(queued_job), **(headers or {})}
    return Response(orjson.dumps(view.job(queued_job)), status, all_headers, "application/json")
