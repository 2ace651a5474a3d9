"""When to retry, and for how long."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import Any

import httpx

from darkroom.errors import DarkroomError, RateLimited, Unavailable, error_of
from darkroom.protocol import Answer, Reply, Request, Steps

_REDIRECTED = 300
_REFUSED = 400
UNCHANGED = 304
_DELETED = 204
_UNAVAILABLE = 503
#: The codes of a 503 that may follow an executed request.
_UNKNOWN = frozenset({"accept_unknown", "outcome_unknown"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to retry.

    The n-th pause is a random part of `first_seconds` · 2^n ("full jitter"), at most
    `most_seconds`, after the time of `Retry-After`. If that exceeds `longest_seconds`, the client
    gives up at once. `dice` returns random numbers from 0 to 1.
    """

    retries: int = 6
    first_seconds: float = 0.5
    most_seconds: float = 15.0
    longest_seconds: float = 60.0
    dice: Callable[[], float] = SystemRandom().random

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Return the seconds to wait after this attempt, counted from 0."""
        ceiling = min(self.most_seconds, self.first_seconds * 2.0**attempt)
        return (retry_after or 0.0) + self.dice() * ceiling


def send_with_retries(request: Request, retry_policy: RetryPolicy) -> Steps[Answer]:
    """Send a request until it is answered.

    Retry on 429, on 503 and other failures of the service, and without a response, if the request
    is safe to repeat. Raise the DarkroomError of the last response; its `outcome_unknown` covers
    all of them.
    """
    pause, unknown = request.after_seconds, False
    for attempt in range(retry_policy.retries + 1):
        reply = yield replace(request, after_seconds=pause)
        error = refusal(reply)
        if error is None:
            return _answered(reply)
        unknown = unknown or not _is_refused(reply, error)
        error.outcome_unknown = unknown
        if attempt == retry_policy.retries or not _may_repeat(request, reply, error):
            raise error
        requested_wait = error.retry_after if isinstance(error, Unavailable) else None
        if requested_wait is not None and requested_wait > retry_policy.longest_seconds:
            raise error
        pause = retry_policy.pause(attempt, requested_wait)
    raise AssertionError  # the last attempt returns or raises


def refusal(reply: Reply) -> DarkroomError | None:
    """Return the error of a reply; None for a successful one."""
    if not isinstance(reply, Answer):
        return Unavailable(reply.reason)
    if reply.status < _REDIRECTED or reply.status == UNCHANGED:
        return None
    if reply.status < _REFUSED:
        return Unavailable(_redirect(reply))
    problem = _problem(reply)
    if not (problem.get("detail") or problem.get("title")):
        problem = {**problem, "detail": _not_darkrooms(reply)}
    return error_of(reply.status, problem, retry_after(reply.headers))


def _answered(reply: Reply) -> Answer:
    if not isinstance(reply, Answer):
        raise TypeError(reply)  # the caller handles it
    return reply


def _may_repeat(request: Request, reply: Reply, error: DarkroomError) -> bool:
    if not isinstance(error, Unavailable) or error.code == "accept_unknown":
        return False
    if isinstance(reply, Answer) and reply.status < _REFUSED:
        return False  # every attempt would be redirected
    return request.idempotent or _is_refused(reply, error)


def _is_refused(reply: Reply, error: DarkroomError) -> bool:
    """Return whether the request has certainly changed nothing.

    The page of a proxy, which has no code, may follow an executed request.
    """
    if not isinstance(reply, Answer):
        return not reply.sent
    if reply.status == _UNAVAILABLE:
        return error.code is not None and error.code not in _UNKNOWN
    if reply.status < _REFUSED:
        return True  # redirected: the service did not receive it
    return isinstance(error, RateLimited) or not isinstance(error, Unavailable)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse `Retry-After` (RFC 9110, 10.2.3: seconds or a date) as seconds from now."""
    header = headers.get("retry-after", "").strip()
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the latter for a year with many digits
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        header = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}  # a proxy's page, for example
    return header if isinstance(header, dict) else {}


def _not_darkrooms(answer: Answer) -> str:
    kind = httpx.Headers(answer.headers).get("content-type", "no type")
    return f"The server that answered for {answer.source} is not Darkroom: {answer.status}, {kind}."


def _redirect(answer: Answer) -> str:
    """Describe a redirect by the server it leads to; the rest of the URL may hold secrets."""
    try:
        to = httpx.URL(answer.headers.get("location", ""))
    except httpx.InvalidURL:
        return _not_darkrooms(answer)
    if not to.is_absolute_url:
        return _not_darkrooms(answer)
    return (
        f"{answer.source} redirects to {to.scheme}://{to.netloc.decode()}. If the service is "
        "there, set DARKROOM_URL (`url`) to that address."
    )


def check_deleted(answer: Answer) -> None:
    """Raise Unavailable if it was not the service that responded to a DELETE."""
    if answer.status != _DELETED:
        raise Unavailable(_not_darkrooms(answer))


def content_of(answer: Answer, kind: str) -> bytes:
    """Return the content of a response; raise Unavailable unless its type starts with `kind`."""
    if not answer.headers.get("content-type", "").startswith(kind):
        raise Unavailable(_not_darkrooms(answer))
    return answer.content


def lines_of(answer: Answer, *members: str) -> list[Mapping[str, Any]]:
    """Parse a response of JSON lines that have these members; see `json_of`."""
    lines = [line for line in answer.content.split(b"\n") if line.strip()]
    return [json_of(replace(answer, content=line), *members) for line in lines]


def json_of(answer: Answer, *members: str) -> dict[str, Any]:
    """Parse a response that has these members.

    Raise Unavailable for anything else, because it did not come from the service.
    """
    try:
        header = json.loads(answer.content)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not header.keys() >= set(members):
        raise Unavailable(_not_darkrooms(answer))
    return header
