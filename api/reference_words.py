"""How one operation of the API reference is written: its parameters, answers and problems."""

from collections.abc import Mapping
from typing import Any

from api.problems import KINDS, MEDIA_TYPE

Operation = dict[str, Any]

REF = "#/components/schemas/"
JSON = "application/json"
#: What every route with a key can answer.
KEYED = (
    "header_repeated",
    "unauthenticated",
    "forbidden",
    "invalid_request",
    "redis_down",
    "internal",
)
#: What a body can be answered with before it was read.
BODY = ("request_too_slow", "body_too_large", "unsupported_media_type", "too_many_uploads")


def ref(name: str) -> Operation:
    """Refer to a shape by its name."""
    return {"$ref": f"{REF}{name}"}


def answer(description: str, content: Mapping[str, Any], *headers: str) -> Operation:
    """Describe an answer: its content by media type, and its headers."""
    written: Operation = {"description": description, "content": dict(content)}
    if headers:
        written["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return written


def in_json(description: str, schema: str, *headers: str) -> Operation:
    """Describe an answer in JSON of a named shape."""
    return answer(description, {JSON: {"schema": ref(schema)}}, *headers)


def refusals(*codes: str) -> dict[int | str, Operation]:
    """Describe problems by status; those that share one are named together."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    content = {MEDIA_TYPE: {"schema": ref("Problem")}}
    return {
        status: answer("; ".join(f"`{code}`: {KINDS[code].title}" for code in found), content)
        for status, found in sorted(by_status.items())
    }


def parameter(location: str, name: str, description: str, **schema: Any) -> Operation:  # noqa: ANN401  JSON
    """Describe a parameter in `place` (query, header)."""
    return {"in": location, "name": name, "description": description, "schema": schema}


def operation(
    tag: str,
    answers: Mapping[int | str, Operation],
    problems: tuple[str, ...] = (),
    *,
    parameters: tuple[Operation, ...] = (),
    keyed: bool = True,
    signed: bool = False,
    body: Operation | None = None,
) -> Operation:
    """Describe a route; the first of `answers` is the usual one."""
    extra: Operation = {"security": [{"key": []}] if keyed else []}
    if signed:
        extra["security"].append({})  # a signed address needs no key
    if parameters:
        extra["parameters"] = list(parameters)
    if body:
        extra["requestBody"] = body
    codes = (*(KEYED if keyed else ()), *problems)
    return {
        "tags": [tag],
        "status_code": next(iter(answers)),
        "responses": {**answers, **refusals(*codes)},
        "openapi_extra": extra,
    }


WAIT = {"type": "integer", "minimum": 1, "maximum": 60}
TEXT = {"type": "string"}
MOMENT = {"type": "string", "format": "date-time"}
NO_CONTENT: Operation = {"description": "It is gone"}
#: Why nothing more is queued.
ADMISSION_ERRORS = (
    "rate_limited",
    "tenant_queue_full",
    "credits_spent",
    "queue_full",
    "deadline_unreachable",
    "redis_full",
)
