"""The pages as responses: no key, no state, and a policy under which nothing foreign runs."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context import app_context
from api.headers import etag_matches, if_none_match
from api.models import model_described
from api.problems import not_found
from api.query import Query
from api.routing import Direct, Endpoint
from api.web.static_files import PREFIX, File, StaticBundle
from shared.model_catalog import MODELS

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
_REVALIDATE = "no-cache"
#: The pages are for people: the API reference does not tell of them.
_DOCS: Mapping[str, Any] = {
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
def _read(prefix: str) -> StaticBundle:
    return StaticBundle.read(prefix, written={"models.json": _MODELS})


def _bundle(request: Request) -> StaticBundle:
    return _read(app_context(request).settings.public_prefix)


def _page(name: str) -> Endpoint:
    async def show(request: Request) -> Response:
        return _answer(request, _bundle(request).files[name], _REVALIDATE)

    return show


async def get_file(request: Request, build_hash: str, name: str) -> Response:
    """Give a script, a style or a drawing of the pages.

    A page of another version, open while this one was brought up, gets what there is now.
    """
    Query(request).done()
    bundle = _bundle(request)
    file = bundle.files.get(name)
    if file is None or name.endswith(".html"):
        raise not_found("file")
    return _answer(request, file, _FOR_EVER if build_hash == bundle.build_hash else _REVALIDATE)


def _answer(request: Request, file: File, cache_control: str) -> Response:
    headers = {
        **SAFETY,
        "ETag": file.etag,
        "Cache-Control": cache_control,
        "Content-Type": file.media_type,
    }
    etags = if_none_match(request.headers)
    if etags is not None and etag_matches(etags, file.etag.strip('"')):
        return Response(None, 304, headers)
    return Response(file.body, 200, headers)


PAGE_ROUTES: tuple[Direct, ...] = (
    *(Direct("GET", path, _page(name), docs=_DOCS) for path, name in _PAGES.items()),
    Direct("GET", f"{PREFIX}/{{build_hash}}/{{name:path}}", get_file, docs=_DOCS),
)
