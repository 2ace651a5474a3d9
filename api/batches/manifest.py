"""`GET /v1/batches/{id}/manifest`: requests and results of a batch, as NDJSON or as a ZIP."""

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.batches.routes import BATCHES, NDJSON, existing
from api.batches.zip_stream import ZipStream
from api.context import AppContext, Context, CurrentTenant
from api.headers import head_of_stream, is_head
from api.problems import problems
from api.query import QueryModel, enum_member, is_given
from api.routing import tenant_router
from shared.jobs import Job
from shared.store.job_queries import QueuedJob

#: Jobs read in one script.
PAGE = 100
NAME = "manifest.ndjson"
_MEMBERS = (
    *("id", "status", "model", "served_model", "input", "prompt_withheld", "metadata", "tags"),
    *("image", "error", "created_at", "finished_at"),
)


class Form(StrEnum):
    """The format of a manifest."""

    NDJSON = "ndjson"
    ZIP = "zip"


_TYPES = {Form.NDJSON: NDJSON, Form.ZIP: "application/zip"}

router = tenant_router("batches")


class _ManifestQuery(QueryModel):
    format: Annotated[
        Form, is_given(enum_member(Form)), Field(description="`zip`: with the images")
    ] = Form.NDJSON


@router.get(
    f"{BATCHES}/{{batch_id}}/manifest",
    response_class=Response,
    response_description="One line a job, or a ZIP",
    responses={
        200: {"content": {media: {} for media in _TYPES.values()}},
        **problems("not_found", "storage_down"),
    },
)
async def get_manifest(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    batch_id: str,
    query: Annotated[_ManifestQuery, Query()],
) -> Response:
    """Return the input and the result of each job, one line per job in the order of the request.

    With `?format=zip`, return the images available so far, with the manifest as the last entry. Its
    lines then have `file`, and `missing` if an image was deleted or is damaged. Deleted jobs have
    no line.
    """
    form = query.format
    await existing(parts, batch_id, principal.tenant)
    headers = {
        "Cache-Control": "private, no-store",
        "Content-Disposition": f'attachment; filename="{batch_id}.{form.value}"',
    }
    if is_head(request):
        return head_of_stream(headers, _TYPES[form])
    jobs = _Jobs(parts, batch_id, principal.tenant)
    await jobs.check()
    body = _lines(jobs) if form is Form.NDJSON else _zip(jobs)
    return StreamingResponse(body, 200, headers, _TYPES[form])


class _Jobs:
    """The jobs of a batch in the order of the request, read page by page; can be iterated again."""

    def __init__(self, parts: AppContext, batch_id: str, tenant: str) -> None:
        self.parts = parts
        self._batch_id = batch_id
        self._tenant = tenant

    async def check(self) -> None:
        """Raise StoreError or HistoryDown while the response can still have a status."""
        await self._page(None, 1)

    async def pages(self) -> AsyncIterator[tuple[Job, ...]]:
        after = None
        while True:
            jobs, after = await self._page(after, PAGE)
            yield jobs
            if after is None:
                return

    async def _page(self, after: str | None, most: int) -> tuple[tuple[Job, ...], str | None]:
        return await self.parts.records.batch_jobs(
            self._batch_id, tenant=self._tenant, after=after, most=most
        )

    def line(self, job: Job, **more: Any) -> bytes:  # noqa: ANN401  JSON
        """Format the line of a job."""
        shown: Mapping[str, object] = self.parts.view.job(QueuedJob(job))
        line = {name: shown[name] for name in _MEMBERS} | more
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


async def _lines(jobs: _Jobs) -> AsyncIterator[bytes]:
    async for page in jobs.pages():
        yield b"".join(jobs.line(job) for job in page)


async def _zip(jobs: _Jobs) -> AsyncIterator[bytes]:
    """Send the images, then the manifest: only then is it known which images were sent."""
    with ZipStream(jobs.parts.images) as archive:
        async for page in jobs.pages():
            async for chunk in archive.images(page):
                yield chunk
        with archive.begin(NAME) as manifest:
            async for page in jobs.pages():
                manifest.write(b"".join(jobs.line(job, **archive.of(job)) for job in page))
        for chunk in archive.end():
            yield chunk
