"""`GET /v1/jobs/{id}/image`: the image, for a key of the tenant or a signed URL."""

import time
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.context import AppContext, Context, current_tenant
from api.headers import (
    Range,
    Unsatisfiable,
    etag_matches,
    head_of_stream,
    if_none_match,
    is_head,
    reads_headers,
    sends_headers,
    wanted_range,
)
from api.image_streaming import Part
from api.problems import Problem, not_found, problems
from api.query import OPTIONAL, Flag, QueryModel, Text, enum_member, is_given
from api.routing import open_router, scope_of
from shared.ids import is_job_id
from shared.image_files import PREVIEW, PREVIEW_SIDE
from shared.jobs import Image, Job
from shared.serializers import rfc3339
from shared.storage.object_names import preview_key

#: The image at a URL never changes, but it can be deleted, and its URL revoked.
CACHE_SECONDS = 86_400
#: How long the storage's own URL is valid.
PRESIGNED_SECONDS = 3600


_PATH = "/v1/jobs/{job_id}/image"
_IMAGE: dict[str, Any] = {
    "content": {media: {} for media in ("image/webp", "image/jpeg", "image/png")}
}

router = open_router("jobs")


class _Size(StrEnum):
    PREVIEW = "preview"


class _ImageQuery(QueryModel):
    size: Annotated[
        _Size | None,
        is_given(enum_member(_Size)),
        OPTIONAL,
        Field(
            description=f"A WebP whose longest side has at most {PREVIEW_SIDE} pixels; "
            "`Range` is ignored"
        ),
    ] = None
    redirect: Annotated[Flag, Field(description="1: redirect to the storage")] = False
    expires: Annotated[Text, Field(description="Expiry of a signed URL")] = None
    signature: Annotated[
        Text, Field(description="Signature of a signed URL; it replaces the key")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_others(cls, query: dict[str, Any]) -> dict[str, Any]:
        """Ignore parameters that others add to a signed URL."""
        if "signature" not in query and "expires" not in query:
            return query
        return {name: value for name, value in query.items() if name in cls.model_fields}

    @property
    def is_signed(self) -> bool:
        """Return whether the URL itself grants access to the image."""
        return self.signature is not None or self.expires is not None


@router.get(
    _PATH,
    response_class=Response,
    response_description="The image",
    responses={
        200: {**_IMAGE, **sends_headers("ETag")},
        206: {"description": "The range", **_IMAGE, **sends_headers("Content-Range")},
        302: {"description": "The URL of the unverified bytes in the storage (`redirect=1`)"},
        304: {"description": "The image is the one of `If-None-Match`"},
        **problems(
            *("signature_invalid", "not_found", "no_image", "image_missing", "image_deleted"),
            *("image_not_ready", "history_unavailable"),
            *("range_not_satisfiable", "image_damaged", "storage_down"),
        ),
    },
    openapi_extra={
        "security": [{"key": [scope_of("GET", _PATH).value]}, {}],
        **reads_headers(Range="One range of bytes"),
    },
)
async def get_image(
    request: Request, parts: Context, job_id: str, query: Annotated[_ImageQuery, Query()]
) -> Response:
    """Return the image of a job.

    Requires a key of its tenant, or the signed URL in the job's `image.url`. `?redirect=1`
    redirects to a URL of the storage itself, valid for an hour; images from there are not verified.
    `?size=preview` returns a small WebP instead, which is made on its first request and stored.
    """
    if not query.is_signed:
        tenant = (await current_tenant(request)).tenant
    else:
        _check_signature(parts, job_id, query.expires or "", query.signature or "")
        tenant = ""  # the signature covers the job: the URL grants access to its image
    queued_job = await parts.read(job_id, tenant) if is_job_id(job_id) else None
    if queued_job is None:
        raise not_found()
    image = _image(queued_job.job)
    if query.size is _Size.PREVIEW:
        return await _preview(request, parts, job_id, image, query)
    if query.redirect:
        return await _redirect(parts, image.key, image.content_type, file_name(job_id, image))
    return await _bytes(request, parts, queued_job.job, image, _cache_control(query))


def _check_signature(parts: AppContext, job_id: str, expires: str, signature: str) -> None:
    signer = parts.redis_monitor.signer
    if not signer.holds(job_id, expires=expires, signature=signature, now_seconds=time.time()):
        raise Problem("signature_invalid", "Read the job again to get a valid URL.")


def _image(job: Job) -> Image:
    if job.image_deleted_at:
        at = rfc3339(job.image_deleted_at)
        raise Problem("image_deleted", f"The image was deleted at {at}; its job is kept.")
    if job.image:
        return job.image
    status = job.state.status.value
    if job.state.is_final:
        raise Problem("no_image", f"The job is {status}: it has no image.")
    raise Problem("image_not_ready", f"The job is {status}.", headers={"Retry-After": "1"})


async def _redirect(parts: AppContext, key: str, content_type: str, filename: str) -> Response:
    presign = partial(
        parts.storage.presign,
        key,
        seconds=PRESIGNED_SECONDS,
        content_type=content_type,
        filename=filename,
    )
    # temporary credentials may have to be fetched first
    address = await parts.images.in_thread(presign)
    return RedirectResponse(address, 302, {"Cache-Control": "no-store"})


async def _preview(
    request: Request, parts: AppContext, job_id: str, image: Image, query: _ImageQuery
) -> Response:
    """Return the preview of an image; a 304 and HEAD need no request to the storage."""
    filename = f"{job_id}.preview.{PREVIEW.extension}"
    if query.redirect:
        await parts.previews.get(image, job_id)
        return await _redirect(parts, preview_key(image.key), PREVIEW.content_type, filename)
    etag = f"{image.sha256}-preview"
    headers = {
        # weak: other versions of the encoder may have made the same preview in other bytes
        **_headers(f'W/"{etag}"', filename, ranges="none"),
        "Cache-Control": _cache_control(query),
    }
    etags = if_none_match(request.headers)
    if etags is not None and etag_matches(etags, etag):
        return Response(None, 304, headers)
    if is_head(request):
        return head_of_stream(headers, PREVIEW.content_type)
    data = await parts.previews.get(image, job_id)
    return Response(data, 200, headers, PREVIEW.content_type)


async def _bytes(
    request: Request, parts: AppContext, job: Job, image: Image, cache_control: str
) -> Response:
    headers = _headers(f'"{image.sha256}"', file_name(job.id, image), ranges="bytes")
    headers["Cache-Control"] = cache_control
    etags = if_none_match(request.headers)
    if etags is not None and etag_matches(etags, image.sha256):
        return Response(None, 304, headers)
    part = _range(request, image)
    headers["content-type"] = image.content_type
    status = 200
    if part:
        status = 206
        headers["Content-Range"] = f"bytes {part.first}-{part.last}/{image.bytes}"
    wanted = Part(image, part)
    if is_head(request):
        return Response(None, status, {**headers, "content-length": str(wanted.length)})
    return await parts.images.response(wanted, job.tenant, status, headers)


def _cache_control(query: _ImageQuery) -> str:
    """Return `Cache-Control`: shared caches keep an image of a signed URL while that is valid."""
    seconds = CACHE_SECONDS
    if query.expires:
        seconds = min(seconds, max(int(query.expires) - int(time.time()), 0))
    scope = "public" if query.is_signed else "private"
    return f"{scope}, max-age={seconds}, immutable"


def _headers(etag: str, filename: str, *, ranges: str) -> dict[str, str]:
    return {
        "ETag": etag,
        "Accept-Ranges": ranges,
        "Content-Disposition": f'inline; filename="{filename}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def _range(request: Request, image: Image) -> Range | None:
    """Parse the requested range, if it is of this image (`If-Range`)."""
    same = request.headers.get("if-range")
    if is_head(request) or (same is not None and same.strip() != f'"{image.sha256}"'):
        return None
    try:
        return wanted_range(request.headers.get("range"), image.bytes)
    except Unsatisfiable:
        headers = {"Content-Range": f"bytes */{image.bytes}"}
        detail = f"The image has {image.bytes:,} bytes."
        raise Problem("range_not_satisfiable", detail, headers=headers) from None


def file_name(job_id: str, image: Image) -> str:
    """Return the file name for saving the image."""
    return f"{job_id}.{image.key.rpartition('.')[2]}"
