"""The pages as responses: no key, no state, and a policy under which nothing foreign runs."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.headers import etag_matches, if_none_match
from api.models import model_described
from api.pages.shelf import PREFIX, File, Shelf
from api.parts import parts_of
from api.problems import not_found
from api.query import Query
from api.routing import Direct, Endpoint
from shared.models import MODELS

#: Scripts and styles from files of ours only, pictures from the API or made by the page itself, and
#: no text is ever read as HTML.
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
#: What a browser is told with every page and file.
SAFETY: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
#: The pages are for people: the API reference does not tell of them.
_TOLD: Mapping[str, Any] = {
    "include_in_schema": False,
    "responses": {status: {"description": ""} for status in (200, 304)},
}
#: Each page by its address.
_PAGES: Mapping[str, str] = {
    "/": "playground.html",
    "/docs": "reference.html",
    "/ops": "console.html",
}
#: The playground's form needs the models before its visitor has a key. What a key opens beside is
#: left out: the price and the state.
_MODELS = orjson.dumps({"data": [model_described(model) for model in MODELS.values()]})


@cache
def _read(prefix: str) -> Shelf:
    return Shelf.read(prefix, written={"models.json": _MODELS})


def _shelf(request: Request) -> Shelf:
    return _read(parts_of(request).settings.public_prefix)


def _page(name: str) -> Endpoint:
    async def show(request: Request) -> Response:
        return _answer(request, _shelf(request).files[name], _ASK_AGAIN)

    return show


async def get_file(request: Request, edition: str, name: str) -> Response:
    """Give a script, a style or a drawing of the pages.

    A page of another version, open while this one was brought up, gets what there is now.
    """
    Query(request).done()
    shelf = _shelf(request)
    file = shelf.files.get(name)
    if file is None or name.endswith(".html"):
        raise not_found("file")
    return _answer(request, file, _FOR_EVER if edition == shelf.edition else _ASK_AGAIN)


def _answer(request: Request, file: File, keep: str) -> Response:
    headers = {**SAFETY, "ETag": file.etag, "Cache-Control": keep, "Content-Type": file.media_type}
    known = if_none_match(request.headers)
    if known is not None and etag_matches(known, file.etag.strip('"')):
        return Response(None, 304, headers)
    return Response(file.body, 200, headers)


PAGE_ROUTES: tuple[Direct, ...] = (
    *(Direct("GET", path, _page(name), told=_TOLD) for path, name in _PAGES.items()),
    Direct("GET", f"{PREFIX}/{{edition}}/{{name:path}}", get_file, told=_TOLD),
)
