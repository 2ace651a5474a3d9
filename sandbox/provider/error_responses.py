"""Error replies of the provider, in its own words and shapes.

Errors are `{"errorCode", "message", "details"?}`, where `details` is a JSON *string*; those of its
gateway are HTML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from starlette.responses import Response

from sandbox.provider.faults import Status

#: Statuses that come from the gateway in front of the provider, as a page.
GATEWAY_STATUSES = frozenset({504, 520, 521, 522, 523, 524})

#: Code and message by status, if a step does not set its own.
USUAL: Mapping[int, tuple[str, str]] = {
    400: ("UNKNOWN_ERROR", "Something went wrong. Please try again later."),
    401: ("UNAUTHORIZED", "The api key is not active"),
    402: ("INSUFFICIENT_CREDITS", ""),
    403: ("FORBIDDEN", "The api key is not active"),
    404: ("NOT_FOUND", "Not found"),
    406: ("INSUFFICIENT_CREDITS", ""),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error"),
    502: ("BAD_GATEWAY", "Bad gateway"),
    503: ("SERVICE_UNAVAILABLE", "Service unavailable"),
}

BUSY_MESSAGE = (
    "The replicate service is a bit busy right now or facing a temporary issue. "
    "The service is a bit busy, please try again shortly."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error response. `headers` are those besides the content type."""

    status: int
    code: str
    message: str
    details: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Write it as the provider does."""
        body: dict[str, str] = {"errorCode": self.code, "message": self.message}
        if self.details is not None:
            body["details"] = self.details
        return json_response(body, self.status, self.headers)


def json_response(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Respond with JSON."""
    return Response(orjson.dumps(body), status, headers, "application/json")


def missing_fields(model: str, faults: Sequence[tuple[str, str]]) -> Refusal:
    """Refuse a request for its (field, message) faults."""
    names = ", ".join(name for name, _ in faults)
    return Refusal(
        400,
        "MISSING_REQUIRED_FIELDS",
        f"Missing required fields for {model} model: {names}. "
        "Please provide all required parameters.",
        orjson.dumps([{"field": name, "message": text} for name, text in faults]).decode(),
    )


def dead_key() -> Refusal:
    """Refuse a missing or invalid key."""
    return Refusal(401, *USUAL[401])


def no_credits(required: int, available: int) -> str:
    """Report missing credits like the real one: the sentence contains both numbers."""
    return f"The feature requires {required} credits, but the Team only has {available} credits"


def refused(step: Status) -> Response:
    """Refuse according to a step, with the default message if it sets none."""
    headers = {} if step.retry_after is None else {"Retry-After": _wait(step.retry_after)}
    if step.status in GATEWAY_STATUSES:
        return gateway_page(step.status, headers)
    code, message = USUAL.get(step.status, ("ERROR", "Something went wrong."))
    if code == "INSUFFICIENT_CREDITS":
        message = no_credits(step.required, step.available)
    refusal = Refusal(
        step.status, step.code or code, step.message or message, _written(step.details), headers
    )
    return refusal.response()


def _wait(retry_after: float | str) -> str:
    """Write `Retry-After`: seconds without trailing zeros, or the given date."""
    return retry_after if isinstance(retry_after, str) else f"{retry_after:g}"


def _written(details: object) -> str | None:
    if details is None or isinstance(details, str):
        return details
    return orjson.dumps(details).decode()


def busy(status: int | None, message: str) -> Refusal:
    """Refuse like the model's own host: its status and message are hidden in `details`."""
    details = None
    if status is not None:
        inner = {"response": {"status": status, "data": {"message": message}}}
        details = orjson.dumps(inner).decode()
    return Refusal(400, "EXTERNAL_API_RESPONSE_WITH_ERROR", BUSY_MESSAGE, details)


def gateway_page(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Respond with the page of the gateway."""
    reason = {504: "Gateway time-out", 522: "Connection timed out", 524: "A timeout occurred"}
    title = f"api.1min.ai | {status}: {reason.get(status, 'Web server error')}"
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{title}</body></html>\n"
    )
    return Response(page, status, headers, "text/html; charset=UTF-8")
