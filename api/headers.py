"""Request headers (conditions, preferences, ranges) and response headers."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

WAIT_SECONDS_MAX = 60
#: The scope entry that marks a HEAD request.
IS_HEAD = "darkroom.is_head"
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
_WAIT = re.compile(r'wait(?:\s*=\s*(?:"([^"]*)"|([^\s;"]*)))?\s*(?:;.*)?', re.IGNORECASE)
_RANGE = re.compile(r"bytes=\s*(\d{0,4000})-(\d{0,4000})\s*", re.IGNORECASE)


_BOUNDS: Mapping[str, Mapping[str, int]] = {"Idempotency_Key": {"maxLength": 255}}


def reads_headers(**descriptions: str) -> dict[str, Any]:
    """Declare the request headers a route reads, by name with `_` for `-`."""
    parameters = [
        {
            "in": "header",
            "name": name.replace("_", "-"),
            "description": description,
            "schema": {"type": "string", **_BOUNDS.get(name, {})},
        }
        for name, description in descriptions.items()
    ]
    return {"parameters": parameters}


def sends_headers(*names: str) -> dict[str, Any]:
    """Declare the headers of a response."""
    return {"headers": {name: {"schema": {"type": "string"}} for name in names}}


#: The headers of every request that creates a job.
READS_ACCEPTING = reads_headers(
    Idempotency_Key="The same key and body make one job, within 24 hours",
    Prefer="`wait=N`, 1 to 60 seconds",
    traceparent="Your trace: job and webhooks become part of it",
)
RATE_LIMIT = ("RateLimit", "RateLimit-Policy")


def is_head(request: Request) -> bool:
    """Return whether this is a HEAD request; the routes handle it as GET."""
    return IS_HEAD in request.scope


def if_none_match(headers: Headers) -> str | None:
    """Return all values of `If-None-Match`; None if absent."""
    return ", ".join(headers.getlist("if-none-match")) or None


def head_of_stream(headers: Mapping[str, str], media_type: str) -> Response:
    """Respond to HEAD for a body of unknown length, without Content-Length (RFC 9110, 8.6)."""
    response = Response(None, 200, headers, media_type)
    del response.headers["content-length"]
    return response


def etag_matches(written: str, opaque: str) -> bool:
    """Return whether `If-None-Match` matches this entity tag (weak comparison) or is `*`."""
    return written.strip() == "*" or opaque in _ETAG.findall(written)


def preferred_wait(headers: Headers) -> int | None:
    """Return the seconds of `Prefer: wait=N` (1 to 60; a plain `wait` means 60).

    Invalid values are ignored, and of several the first counts (RFC 7240).
    """
    for preference in ",".join(headers.getlist("prefer")).split(","):
        found = _WAIT.fullmatch(preference.strip())
        if not found:
            continue
        quoted, plain = found.groups()
        if quoted is None and plain is None:
            return WAIT_SECONDS_MAX
        return _seconds(quoted if quoted is not None else plain)
    return None


def _seconds(written: str) -> int | None:
    if not re.fullmatch(r"[0-9]{1,4}", written):
        return None
    seconds = int(written)
    return seconds if 1 <= seconds <= WAIT_SECONDS_MAX else None


class Range(NamedTuple):
    """A byte range: `first` to `last`, from 0, inclusive."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range lies outside the body."""


def wanted_range(written: str | None, size: int) -> Range | None:
    """Parse `Range` for a body of `size` bytes; return None for the whole body.

    Several ranges and malformed ones select the whole body (RFC 9110, 14.2). Raise Unsatisfiable.
    """
    found = _RANGE.fullmatch(written or "")
    if not found or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return _suffix(int(last), size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Range(int(first), min(int(last), size - 1) if last else size - 1)


def _suffix(length: int, size: int) -> Range:
    if length == 0 or size == 0:
        raise Unsatisfiable
    return Range(max(size - length, 0), size - 1)
