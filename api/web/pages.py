"""The pages as responses: no key, no state, and a policy that blocks foreign code."""

from collections.abc import Mapping
from functools import cache

import orjson
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext, Context
from api.headers import etag_matches, if_none_match
from api.models import model_described
from api.problems import not_found
from api.routing import OpenRoute, open_router, refuse_parameters
from api.web.static_files import PREFIX, File, StaticBundle
from shared.model_catalog import Catalog
from shared.settings import Settings

#: Scripts and styles only from our own files, images from the API or the page itself; no text is
#: parsed as HTML.
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
#: The headers of every page and file.
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
#: Each page by its path.
_PAGES: Mapping[str, str] = {
    "/": "playground.html",
    "/docs": "reference.html",
    "/ops": "console.html",
}


def _models_file(models: Catalog) -> bytes:
    """Write the models, which the playground's form needs before its visitor enters a key.

    What requires a key, price and state, is left out.
    """
    return orjson.dumps({"data": [model_described(model) for model in models.values()]})


def _service_file(settings: Settings) -> bytes:
    """Write what the console must know before its visitor enters a key."""
    return orjson.dumps({"has_people": bool(settings.ops_auth_header)})


@cache
def _read(prefix: str, models: bytes, service: bytes) -> StaticBundle:
    return StaticBundle.read(prefix, written={"models.json": models, "service.json": service})


def _bundle(parts: AppContext) -> StaticBundle:
    settings = parts.settings
    return _read(settings.public_prefix, _models_file(parts.models), _service_file(settings))


router = open_router("pages", route_class=OpenRoute, include_in_schema=False)


def _add_page(path: str, name: str) -> None:
    async def show(request: Request, parts: Context) -> Response:
        return _answer(request, _bundle(parts).files[name], _REVALIDATE)

    router.add_api_route(path, show, methods=["GET"], name=name)


for _path, _name in _PAGES.items():
    _add_page(_path, _name)


@router.get(f"{PREFIX}/{{build_hash}}/{{name:path}}", dependencies=[Depends(refuse_parameters)])
async def get_file(request: Request, parts: Context, build_hash: str, name: str) -> Response:
    """Return a script, style or icon of the pages.

    A page of another version that is still open gets the current file.
    """
    bundle = _bundle(parts)
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
