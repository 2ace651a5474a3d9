"""Cross-origin access to responses (CORS, Fetch standard)."""

from collections.abc import Collection, Sequence

from starlette.responses import Response
from starlette.types import Scope

Pairs = Sequence[tuple[bytes, bytes]]

ANY = "*"
#: How long browsers may cache a preflight response; Chromium's maximum.
_PREFLIGHT_SECONDS = 7200
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
#: Response headers that scripts may read besides the safelisted ones.
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
    """CORS headers for a list of origins; signed images are readable from any origin."""

    def __init__(self, origins: Collection[str]) -> None:
        """Allow these origins, as browsers send them, or `*` for any."""
        self._origins = frozenset(origin.encode() for origin in origins)
        self._is_any = ANY in origins

    def headers(self, scope: Scope, origin: bytes | None) -> Pairs:
        """Return the headers to add to the response to a request from `origin` (None if absent)."""
        if self._is_any or _is_signed_image(scope):
            return _ALLOW_ANY
        if origin in self._origins:
            return ((b"access-control-allow-origin", origin or b""), _EXPOSE, *_VARY)
        return _VARY if self._origins else ()

    def preflight(
        self, scope: Scope, origin: bytes | None, wanted: bytes | None
    ) -> Response | None:
        """Respond to a preflight request; return None for any other request.

        `wanted` are the headers the browser wants to send.
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
