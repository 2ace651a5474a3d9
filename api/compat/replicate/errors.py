"""Problems in Replicate's form: `type`, `title`, `status`, `detail` (RFC 7807)."""

from typing import Any, NotRequired

import orjson
from starlette.responses import Response
from typing_extensions import TypedDict

from api.problems import MEDIA_TYPE, TYPE_PREFIX, FieldError, Problem, ProblemShape

SHAPE = ProblemShape("ReplicateError")


class InvalidField(TypedDict):
    """A fault of a request."""

    type: str
    field: str
    description: str


class ReplicateError(TypedDict):
    """A problem as Replicate returns it."""

    type: str
    title: str
    status: int
    detail: str
    invalid_fields: NotRequired[list[InvalidField]]


def answer(problem: Problem, request_id: str, *, prefix: str = "") -> Response:
    """Write a problem; its detail names every fault, because the client shows nothing else.

    `prefix` precedes every path as seen from outside.
    """
    kind = problem.kind
    body: dict[str, Any] = {
        "type": f"{prefix}{TYPE_PREFIX}{problem.code}",
        "title": "Input validation failed" if problem.errors else kind.title,
        "status": kind.status,
        "detail": _detail(problem),
        "code": problem.code,
        "request_id": request_id,
        **problem.more,
    }
    if problem.errors:
        body["invalid_fields"] = [_field(one) for one in problem.errors]
    headers = {"Cache-Control": "no-store", **problem.headers}
    if problem.retry_after is not None:
        headers.setdefault("Retry-After", str(problem.retry_after))
    return Response(orjson.dumps(body), kind.status, headers, MEDIA_TYPE)


def _detail(problem: Problem) -> str:
    if not problem.errors:
        return problem.detail
    return "\n".join(f"- {_name(one)} {one.message}" for one in problem.errors)


def _field(fault: FieldError) -> InvalidField:
    return {"type": "invalid", "field": _name(fault), "description": fault.message}


def _name(fault: FieldError) -> str:
    return fault.pointer.removeprefix("/").replace("/", ".") or "body"
