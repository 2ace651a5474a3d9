"""Problems (RFC 9457): one table of all errors, and one shape."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, NotRequired

import orjson
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict

from api.budgets import Budget
from shared import metrics
from shared.errors import (
    HistoryDown,
    IncompatibleStore,
    ObjectDamaged,
    ObjectMissing,
    OutcomeUnknown,
    StorageDown,
    StoreDown,
    StoreError,
    StoreFull,
    TenantDeleting,
)
from shared.logs import log
from shared.model_catalog import FAULTS_MAX
from shared.schemas import Count

MEDIA_TYPE = "application/problem+json"
#: A problem's `type` is this path and its code: it names the kind of problem and can be looked up.
TYPE_PREFIX = "/problems/"


class Kind(NamedTuple):
    """A kind of problem; `retry_after` in seconds, if a later retry may succeed."""

    status: int
    title: str
    retry_after: int | None = None


class FieldError(NamedTuple):
    """A fault of a request.

    `pointer` is a JSON pointer into the body, or `/query/<name>` or `/header/<name>`.
    """

    pointer: str
    message: str


class FieldErrorBody(TypedDict):
    """A fault of a request; a JSON pointer into the body, query or headers."""

    pointer: str
    message: str


KINDS: Mapping[str, Kind] = {
    "content_rejected": Kind(400, "The provider's safety filter rejected the request"),
    "image_rejected": Kind(400, "The provider rejected the request"),
    "header_repeated": Kind(400, "A header was sent more than once"),
    "unauthenticated": Kind(401, "Authentication is required"),
    "forbidden": Kind(403, "The API key lacks the required scope"),
    "signature_invalid": Kind(403, "The signature of the URL is invalid or has expired"),
    "not_found": Kind(404, "Not found"),
    "image_deleted": Kind(410, "The image was deleted when its retention ended"),
    "no_image": Kind(404, "The job has no image"),
    "image_missing": Kind(404, "The image is no longer in the storage"),
    "method_not_allowed": Kind(405, "Method not allowed"),
    "request_too_slow": Kind(408, "The request body arrived too slowly"),
    "image_not_ready": Kind(409, "The image is not ready yet"),
    "job_final": Kind(409, "The job is already final"),
    "job_not_final": Kind(409, "The job is not final yet"),
    "prompt_withheld": Kind(409, "The prompt of the job was not archived"),
    "batch_final": Kind(409, "All jobs of the batch are already final"),
    "tenant_exists": Kind(409, "The tenant already exists"),
    "tenant_deleting": Kind(409, "The tenant is being deleted", 10),
    "key_inactive": Kind(409, "The API key is revoked or expired"),
    "key_replaced": Kind(409, "The API key has already been replaced"),
    "key_in_environment": Kind(409, "The provider key is in the workers' environment"),
    "seal_key_missing": Kind(409, "No seal key is set"),
    "too_many_keys": Kind(409, "The tenant has too many API keys"),
    "count_changed": Kind(409, "The number of matching jobs has changed"),
    "delivery_sending": Kind(409, "The delivery is being sent"),
    "endpoint_disabled": Kind(409, "The endpoint is disabled"),
    "endpoint_deleted": Kind(409, "The endpoint was deleted"),
    "too_many_erasures": Kind(409, "The tenant has too many deletions in progress"),
    "too_many_endpoints": Kind(409, "The tenant has too many endpoints"),
    "too_many_standing_endpoints": Kind(409, "The tenant has too many standing endpoints"),
    "cursor_expired": Kind(410, "The cursor has expired"),
    "job_deleted": Kind(410, "The job of this idempotency key was deleted"),
    "body_too_large": Kind(413, "The request body is too large"),
    "unsupported_media_type": Kind(415, "Unsupported media type"),
    "range_not_satisfiable": Kind(416, "Range not satisfiable"),
    "invalid_request": Kind(422, "Invalid request"),
    "model_unavailable": Kind(422, "The provider no longer offers this model"),
    "idempotency_key_reused": Kind(422, "The idempotency key was used with a different request"),
    "rate_limited": Kind(429, "Rate limit exceeded", 1),
    "tenant_queue_full": Kind(429, "Too many queued jobs of this tenant", 5),
    "credits_spent": Kind(429, "The credits of a budget are used up", 60),
    "auth_rate_limited": Kind(
        429, "Too many requests with invalid API keys from this IP address", 3
    ),
    "internal": Kind(500, "Internal error"),
    "image_damaged": Kind(502, "The storage returned a damaged image"),
    "image_failed": Kind(502, "The image could not be generated"),
    "not_ready": Kind(503, "The service is not ready", 1),
    "queue_full": Kind(503, "The queue is full", 5),
    "deadline_unreachable": Kind(503, "The queue is too long for the deadline", 5),
    "wait_limit_exceeded": Kind(503, "The job would wait longer than requested", 5),
    "too_many_uploads": Kind(503, "Too many large request bodies in progress", 2),
    "redis_down": Kind(503, "The job store is unreachable", 1),
    "redis_full": Kind(503, "The job store is full", 10),
    "outcome_unknown": Kind(503, "The outcome of the request is unknown", 1),
    "accept_unknown": Kind(503, "The job may or may not have been accepted", 1),
    "history_unavailable": Kind(503, "The history is unreachable", 5),
    "storage_down": Kind(503, "The image storage is unreachable", 5),
    "image_pending": Kind(504, "The image is not finished yet", 1),
}

_log = log(__name__)

#: Errors that pass through the routes unchanged.
CODES: Mapping[type[Exception], str] = {
    StoreDown: "redis_down",
    StoreFull: "redis_full",
    IncompatibleStore: "not_ready",
    OutcomeUnknown: "outcome_unknown",
    HistoryDown: "history_unavailable",
    TenantDeleting: "tenant_deleting",
    StorageDown: "storage_down",
    ObjectMissing: "image_missing",
    ObjectDamaged: "image_damaged",
}


class ProblemBody(TypedDict):
    """An error (RFC 9457)."""

    type: Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
    title: str
    status: Count
    detail: str
    code: Annotated[str, Field(json_schema_extra={"enum": sorted(KINDS)})]
    request_id: str
    errors: NotRequired[list[FieldErrorBody]]
    budget: NotRequired[Annotated[Budget, Field(description="Of `credits_spent`: which one")]]


#: Errors that the framework raises itself.
_STATUS_CODES: Mapping[int, str] = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
}
_ROUTE_ADVICE: Mapping[str, str] = {
    "not_found": "There is no operation at this path. GET /docs lists all operations.",
    "method_not_allowed": "The operation at this path refuses this method. GET /docs lists all "
    "operations.",
}


#: The problems of every route that requires a key.
_KEYED = (
    "header_repeated",
    "unauthenticated",
    "forbidden",
    "invalid_request",
    "redis_down",
    "internal",
)
#: The problems of a body before it is read.
BODY = ("request_too_slow", "body_too_large", "unsupported_media_type", "too_many_uploads")
#: The problems of a full queue.
ADMISSION_ERRORS = (
    "rate_limited",
    "tenant_queue_full",
    "credits_spent",
    "queue_full",
    "deadline_unreachable",
    "redis_full",
    "model_unavailable",
)
#: The problems of creating a job or batch.
NOT_ACCEPTED = ("job_deleted", "idempotency_key_reused", *ADMISSION_ERRORS, "accept_unknown")
#: Responses by status, as FastAPI takes them.
Responses = dict[int | str, dict[str, Any]]
REF = "#/components/schemas/"


class ProblemShape(NamedTuple):
    """The shape of problems below some paths, for the OpenAPI document."""

    name: str = "Problem"
    media_type: str = MEDIA_TYPE
    #: statuses other than those of KINDS
    statuses: Mapping[str, int] = {}


OURS = ProblemShape()


def problems(*codes: str, keyed: bool = True, shape: ProblemShape = OURS) -> Responses:
    """Describe the problems of a route by status; those of every `keyed` route are included."""
    by_status: dict[int, list[str]] = {}
    for code in (*(_KEYED if keyed else ()), *codes):
        by_status.setdefault(shape.statuses.get(code, KINDS[code].status), []).append(code)
    content = {shape.media_type: {"schema": {"$ref": f"{REF}{shape.name}"}}}
    return {
        status: {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in found),
            "content": content,
        }
        for status, found in sorted(by_status.items())
    }


class Problem(Exception):
    """A refused or failed request; `code` is one of KINDS."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Take the detail; `more` are further members of the body."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.more = more or {}

    @property
    def kind(self) -> Kind:
        """The entry of the table."""
        return KINDS[self.code]

    @property
    def retry_after(self) -> int | None:
        """Seconds after which a retry may succeed; None if it cannot."""
        retry_after = self.headers.get("Retry-After")
        return int(retry_after) if retry_after else self.kind.retry_after


#: Writes a problem, with the request id.
Writer = Callable[[Problem, str], Response]


def not_found(what: str = "job") -> Problem:
    """Return the problem `not_found`, also for what belongs to another tenant."""
    return Problem("not_found", f"There is no such {what}.")


def tenant_gone() -> "Problem":
    """Return the problem for a request whose tenant was deleted after it was authenticated."""
    return unauthenticated("The API key was deleted with its tenant. Nothing was accepted.")


def unauthenticated(reason: str) -> Problem:
    """Return the problem; `reason` is the same for a malformed, unknown or wrong key.

    Only the holder of the secret learns that a key was revoked or has expired.
    """
    advice = "Send `Authorization: Bearer dk_…` with a valid API key."
    return Problem(
        "unauthenticated",
        f"{reason} {advice}",
        headers={"WWW-Authenticate": 'Bearer realm="darkroom"'},
    )


def invalid(faults: Sequence[FieldError]) -> Problem:
    """Return the problem that names every fault of a request."""
    count = len(faults)
    detail = "The request has one error." if count == 1 else f"The request has {count} errors."
    if count >= FAULTS_MAX:
        detail = f"The request has {count} errors or more; these are the first."
    return Problem("invalid_request", detail, errors=faults)


def problem_of(error: BaseException) -> Problem:
    """Translate an exception of a route; an unknown one becomes `internal`, without details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _refused(error)
    for kind, code in CODES.items():
        if isinstance(error, kind):
            return Problem(code, str(error) or KINDS[code].title)
    return Problem("internal", "The service log has the details under this request id.")


def failure_of(error: BaseException) -> Problem:
    """Translate an exception of a route and record it: count Redis errors, log our own."""
    problem = problem_of(error)
    if isinstance(error, StoreError) or isinstance(error.__cause__, StoreError):
        metrics.REDIS_ERRORS.inc()
    if problem.code == "internal":
        _log.error("request failed", exc_info=error)
    return problem


def _refused(error: HTTPException) -> Problem:
    code = _STATUS_CODES.get(error.status_code, "invalid_request")
    detail = _ROUTE_ADVICE.get(code, f"{KINDS[code].title}.")
    return Problem(code, detail, headers=error.headers or {})


def answer(problem: Problem, request_id: str, *, prefix: str = "") -> Response:
    """Write a problem as a response; `prefix` precedes every path as seen from outside."""
    kind = problem.kind
    body: dict[str, Any] = {
        "type": f"{prefix}{TYPE_PREFIX}{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
        **problem.more,
    }
    if problem.errors:
        body["errors"] = [fault._asdict() for fault in problem.errors]
    headers = {"Cache-Control": "no-store", **problem.headers}
    if problem.retry_after is not None:
        headers.setdefault("Retry-After", str(problem.retry_after))
    return Response(orjson.dumps(body), kind.status, headers, MEDIA_TYPE)


def pointer(*steps: str | int) -> str:
    """Write a JSON pointer (RFC 6901)."""
    return "".join(f"/{_escaped(str(step))}" for step in steps)


def _escaped(step: str) -> str:
    # control characters and lone surrogates from outside must not break a line
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "?", step).replace("~", "~0").replace("/", "~1")
