"""Problems in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response
from typing_extensions import TypedDict

from api.problems import Problem, ProblemShape

_BAD_REQUEST = 400
#: Statuses that OpenAI uses where Darkroom uses another.
_STATUSES: Mapping[str, int] = {
    "invalid_request": _BAD_REQUEST,
    "idempotency_key_reused": _BAD_REQUEST,
}
SHAPE = ProblemShape("OpenAIError", "application/json", _STATUSES)
#: OpenAI's own codes, which clients may check; otherwise the code is Darkroom's.
_CODES: Mapping[str, str] = {
    "unauthenticated": "invalid_api_key",
    "content_rejected": "moderation_blocked",
    "rate_limited": "rate_limit_exceeded",
    "tenant_queue_full": "rate_limit_exceeded",
    "auth_rate_limited": "rate_limit_exceeded",
    "credits_spent": "insufficient_quota",
}
#: Conditions that outlast the client's own retries, which are seconds apart.
_LASTING = frozenset({"credits_spent"})
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_SERVER_ERROR = 500


class OpenAIErrorDetail(TypedDict):
    """The details of an error."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(TypedDict):
    """An error as OpenAI returns it."""

    error: OpenAIErrorDetail


def answer(problem: Problem, request_id: str) -> Response:
    """Write a problem; if a retry cannot help, tell the client not to retry by itself."""
    kind = problem.kind
    status = _STATUSES.get(problem.code, kind.status)
    error: dict[str, Any] = {
        "message": _message(problem),
        "type": _type(problem, status),
        "param": _param(problem),
        "code": _CODES.get(problem.code, problem.code),
        "request_id": request_id,
        **problem.more,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    if problem.retry_after is not None:
        headers.setdefault("Retry-After", str(problem.retry_after))
    if problem.retry_after is None or problem.code in _LASTING:
        headers["x-should-retry"] = "false"
    return Response(orjson.dumps({"error": error}), status, headers, "application/json")


def _message(problem: Problem) -> str:
    if not problem.errors:
        return problem.detail
    return "; ".join(f"{_name(one.pointer)} {one.message}" for one in problem.errors)


def _name(pointer: str) -> str:
    return pointer.removeprefix("/") or "The body"


def _param(problem: Problem) -> str | None:
    return problem.errors[0].pointer.removeprefix("/") or None if problem.errors else None


def _type(problem: Problem, status: int) -> str:
    if problem.code in {"content_rejected", "image_rejected"}:
        return "image_generation_user_error"
    if problem.code == "credits_spent":
        return "insufficient_quota"
    if status >= _SERVER_ERROR:
        return "server_error"
    return _TYPES.get(status, "invalid_request_error")
