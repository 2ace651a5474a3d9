"""`GET /assets/…`: the image of a record, or the fault of its step."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import singledispatch

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from sandbox.provider import faults
from sandbox.provider.bombs import gzip_of_zeros, png_of_pixels
from sandbox.provider.connection import Dropped, Misdeclared, Silent
from sandbox.provider.image_cache import ImageCache
from sandbox.provider.image_rendering import CONTENT_TYPES, RenderedImage
from sandbox.provider.records import Record
from sandbox.provider.state import State, state_of

ZEROS = bytes(65_536)


async def download(request: Request) -> Response:
    """Respond to a download."""
    state = state_of(request)
    path = request.path_params["path"]
    record = state.records.at_path(path)
    fault = state.images.fault
    if fault is not None:
        _note(state, record, fault)
        return _away(fault)
    refusal = _refusal(record, path, request)
    if record is None or refusal is not None:
        _note(state, record, refusal or "404")
        return _storage_error(403 if refusal in {"403", "url_expired"} else 404)
    step = _fault(record, request)
    _note(state, record, step.name)
    return await serve(step, record.image, state.image_cache)


def _refusal(record: Record | None, path: str, request: Request) -> str | None:
    """Return the outcome of a URL that is not served."""
    verdict = state_of(request).addresses.judge(path, request.query_params)
    if verdict != "ok":
        return "403" if verdict == "tampered" else "url_expired"
    if record is None or record.status != "SUCCESS":
        return "404"
    return "missing" if state_of(request).images.lacks(record.age_seconds) else None


def _away(fault: str) -> Response:
    """Respond like the whole image host while it fails."""
    if fault == "hang":
        return Silent()
    return Dropped(reset=True) if fault == "refuse" else _storage_error(int(fault))


def _fault(record: Record, request: Request) -> faults.StepBody:
    """Return the step for this download; only the first URL of a record can be expired."""
    is_first = request.query_params.get("X-Issue") == "0"
    if isinstance(record.step, faults.UrlExpired) and not is_first:
        return faults.Ok()
    return record.download_fault() or faults.Ok()


def _note(state: State, record: Record | None, outcome: str) -> None:
    if record is None:
        state.call_log.note("download", outcome)
        return
    state.call_log.note("download", outcome, request=record.request, record_id=record.shown_id)


def _storage_error(status: int) -> Response:
    """Refuse like an S3 storage."""
    code = {403: "AccessDenied", 404: "NoSuchKey"}.get(status, "InternalError")
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Response(page, status, media_type="application/xml")


def _image(encoded: bytes, image: RenderedImage) -> Response:
    return Response(encoded, media_type=CONTENT_TYPES[image.format])


@singledispatch
async def serve(_step: faults.StepBody, image: RenderedImage, image_cache: ImageCache) -> Response:
    """Respond to a download according to its step; with the image by default."""
    return _image(await image_cache.take(image), image)


@serve.register
async def _expired(
    _step: faults.UrlExpired, _image: RenderedImage, _image_cache: ImageCache
) -> Response:
    return _storage_error(403)


@serve.register
async def _status(
    step: faults.DownloadStatus, _image: RenderedImage, _image_cache: ImageCache
) -> Response:
    return _storage_error(step.status)


@serve.register
async def _truncated(
    step: faults.Truncated, image: RenderedImage, image_cache: ImageCache
) -> Response:
    whole = await image_cache.take(image)
    sent = len(whole) // 2 if step.bytes is None else min(step.bytes, len(whole) - 1)
    return Misdeclared(whole[:sent], len(whole), _typed(image))


@serve.register
async def _wrong_length(
    step: faults.WrongLength, image: RenderedImage, image_cache: ImageCache
) -> Response:
    whole = await image_cache.take(image)
    declared = len(whole) // 2 if step.declared is None else step.declared
    return Misdeclared(whole, declared, _typed(image))


@serve.register
async def _html(_step: faults.Html, _image: RenderedImage, _image_cache: ImageCache) -> Response:
    page = "<!DOCTYPE html>\n<html><body>Please sign in to continue.</body></html>\n"
    return Response(page, media_type="text/html")


@serve.register
async def _huge(step: faults.Huge, image: RenderedImage, image_cache: ImageCache) -> Response:
    body = _padded(await image_cache.take(image), step.bytes)
    length = {"Content-Length": str(step.bytes)} if step.declare else {}
    return StreamingResponse(body, headers=_typed(image) | length)


async def _padded(encoded: bytes, count: int) -> AsyncIterator[bytes]:
    """Return the image and then zeros, `count` bytes in total."""
    yield encoded[:count]
    left = count - len(encoded)
    while left > 0:
        yield ZEROS[:left]
        left -= len(ZEROS)


@serve.register
async def _slow_drip(
    step: faults.SlowDrip, image: RenderedImage, image_cache: ImageCache
) -> Response:
    encoded = await image_cache.take(image)
    length = {"Content-Length": str(len(encoded))}
    return StreamingResponse(_dripping(encoded, step), headers=_typed(image) | length)


async def _dripping(encoded: bytes, step: faults.SlowDrip) -> AsyncIterator[bytes]:
    for start in range(0, len(encoded), step.bytes):
        yield encoded[start : start + step.bytes]
        await asyncio.sleep(step.seconds)


@serve.register
async def _wrong_format(
    step: faults.WrongFormat, image: RenderedImage, image_cache: ImageCache
) -> Response:
    other = replace(image, format=step.format or ("jpg" if image.format == "png" else "png"))
    return _image(await image_cache.take(other), other)


@serve.register
async def _black(_step: faults.Black, image: RenderedImage, image_cache: ImageCache) -> Response:
    return _image(await image_cache.take(replace(image, flat=True)), image)


@serve.register
async def _wrong_size(
    step: faults.WrongSize, image: RenderedImage, image_cache: ImageCache
) -> Response:
    width, height = image.size
    size = (step.width or width // 2, step.height or height // 2)
    return _image(await image_cache.take(replace(image, size=size)), image)


@serve.register
async def _gzip_bomb(
    step: faults.GzipBomb, image: RenderedImage, _image_cache: ImageCache
) -> Response:
    bomb = await asyncio.to_thread(gzip_of_zeros, step.bytes)
    return Response(bomb, headers=_typed(image) | {"Content-Encoding": "gzip"})


@serve.register
async def _pixel_bomb(
    step: faults.PixelBomb, _image: RenderedImage, _image_cache: ImageCache
) -> Response:
    bomb = await asyncio.to_thread(png_of_pixels, step.width, step.height)
    return Response(bomb, media_type="image/png")


@serve.register
async def _redirect(
    step: faults.Redirect, _image: RenderedImage, _image_cache: ImageCache
) -> Response:
    return RedirectResponse(step.location, step.status)


def _typed(image: RenderedImage) -> dict[str, str]:
    return {"Content-Type": CONTENT_TYPES[image.format]}
