"""Which web pages of other origins may read answers (CORS, as the Fetch standard has it)."""

from collections.abc import Collection, Sequence

from starlette.responses import Response
from starlette.types import Scope

Pairs = Sequence[tuple[bytes, bytes]]

ANY = "*"
#: How long a browser remembers what it may send; Chromium takes no more.
_PREFLIGHT_SECONDS = 7200
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
#: What scripts may read beside the few headers that they always may.
_EXPOSED = (
    *("Accept-Ranges", "Allow", "Content-Disposition", "Content-Range", "ETag"),
    *("Idempotent-Replayed", "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy"),
    *("Retry-After", "WWW-Authenticate", "X-Request-Id", "x-should-retry"),
)
_EXPOSE = (b"access-control-expose-headers", ", ".join(_EXPOSED).encode())
_ALLOW_ANY: Pairs = ((b"access-control-allow-origin", b"*"), _EXPOSE)
_VARY: Pairs = ((b"vary", b"Origin"),)
_VARY_PREFLIGHT = "Access-Control-Request-Method, Access-Control-Request-Headers"


class Cors:
    """Answers for the origins of a list; a signed image may be read by any."""

    def __init__(self, origins: Collection[str]) -> None:
        """Allow these origins, as browsers write them, or `*` for any."""
        self._origins = frozenset(origin.encode() for origin in origins)
        self._is_any = ANY in origins

    def headers(self, scope: Scope, origin: bytes | None) -> Pairs:
        """Return what to add to an answer for a request from `origin` (None: it names none)."""
        if self._is_any or _is_signed_image(scope):
            return _ALLOW_ANY
        if origin in self._origins:
            return ((b"access-control-allow-origin", origin or b""), _EXPOSE, *_VARY)
        return _VARY if self._origins else ()

    def preflight(
        self, scope: Scope, origin: bytes | None, wanted: bytes | None
    ) -> Response | None:
        """Answer a browser that asks whether it may send; None for everything else.

        `wanted` are the headers that it would send.
        """
        is_allowed = self._is_any or origin in self._origins or _is_signed_image(scope)
        if scope["method"] != "OPTIONS" or origin is None or not is_allowed:
            return None
        headers = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            "Vary": _VARY_PREFLIGHT,
        }
        if wanted:
            headers["Access-Control-Allow-Headers"] = wanted.decode("latin-1")
        return Response(None, 204, headers)


def _is_signed_image(scope: Scope) -> bool:
    return scope["path"].endswith("/image") and b"signature=" in scope["query_string"]
