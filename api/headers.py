"""What the headers of a request ask for: conditions, preferences, ranges; and what answers say."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

WAIT_SECONDS_MAX = 60
#: Where a request is marked that wants the head of an answer only.
IS_HEAD = "darkroom.is_head"
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
_WAIT = re.compile(r'wait(?:\s*=\s*(?:"([^"]*)"|([^\s;"]*)))?\s*(?:;.*)?', re.IGNORECASE)
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)


_BOUNDS: Mapping[str, Mapping[str, int]] = {"Idempotency_Key": {"maxLength": 255}}


def reads_headers(**descriptions: str) -> dict[str, Any]:
    """Describe the headers of a request that a route reads, by name with `_` for `-`."""
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
    """Describe the headers of a response."""
    return {"headers": {name: {"schema": {"type": "string"}} for name in names}}


#: What a request that makes a job takes beside its body.
READS_ACCEPTING = reads_headers(
    Idempotency_Key="The same key and body make one job, within 24 hours",
    Prefer="`wait=N`, 1 to 60 seconds",
    traceparent="Your trace: job and webhooks become part of it",
)
RATE_LIMIT = ("RateLimit", "RateLimit-Policy")


def is_head(request: Request) -> bool:
    """Return whether only the head of the answer is wanted: routes see a GET."""
    return IS_HEAD in request.scope


def if_none_match(headers: Headers) -> str | None:
    """Return what `If-None-Match` names, in all of its lines; None where there is none."""
    return ", ".join(headers.getlist("if-none-match")) or None


def head_of_stream(headers: Mapping[str, str], media_type: str) -> Response:
    """Answer a HEAD whose GET has a body of unknown length: it names none (RFC 9110, 8.6)."""
    response = Response(None, 200, headers, media_type)
    del response.headers["content-length"]
    return response


def etag_matches(written: str, opaque: str) -> bool:
    """Tell whether an `If-None-Match` names this entity tag (compared weakly), or is `*`."""
    return written.strip() == "*" or opaque in _ETAG.findall(written)


def preferred_wait(headers: Headers) -> int | None:
    """Give the seconds of `Prefer: wait=N` (1 to 60; `wait` alone is 60).

    What cannot be used is ignored, and of several the first counts (RFC 7240).
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
    """A part of a body: bytes `first` to `last`, both counted from 0 and inclusive."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range lies outside the body."""


def wanted_range(written: str | None, size: int) -> Range | None:
    """Read a `Range` of a body of `size` bytes; None for the whole.

    Several ranges, and what is no range of bytes, are answered with the whole (RFC 9110, 14.2).
    Raises Unsatisfiable.
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
