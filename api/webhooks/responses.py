"""Deliveries and endpoints as JSON."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from shared.serializers import rfc3339
from shared.store.delivery_log import Entry
from shared.store.endpoints import Endpoint


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """Write an answer that is its owner's alone."""
    headers = {"Cache-Control": "private, no-store"}
    return Response(orjson.dumps(body), status, headers, "application/json")


def listed(entry: Entry) -> dict[str, Any]:
    """Write a delivery with its last attempt."""
    kind = entry.type.partition(".")[0]
    return {
        "id": entry.id,
        "type": entry.type,
        "status": entry.state.value,
        "job_id": entry.subject if kind == "job" else None,
        "batch_id": entry.subject if kind == "batch" else None,
        "version": entry.version,
        "endpoint_id": entry.endpoint,
        "url": entry.url,
        "attempt": entry.attempt,
        "created_at": rfc3339(entry.created_at),
        "next_attempt_at": rfc3339(entry.due_at),
        "finished_at": rfc3339(entry.finished_at),
        "last_attempt": attempt_shown(entry.attempts[-1]) if entry.attempts else None,
    }


def delivery_shown(entry: Entry) -> dict[str, Any]:
    """Write a delivery with every attempt that is kept."""
    return {**listed(entry), "attempts": [attempt_shown(one) for one in entry.attempts]}


def attempt_shown(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Write one attempt, as the worker noted it."""
    code = attempt["code"]
    return {
        "number": attempt["number"],
        "at": attempt["at"],
        "seconds": attempt["seconds"],
        "status": attempt["status"],
        "error": _fault_shown(code, attempt["error"]) if code else None,
        "answer": attempt["answer"],
    }


def _error_shown(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"status": error["status"], **_fault_shown(error["code"], error["error"])}


def _fault_shown(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message or _ADVICE[code]}


_ADVICE = {
    "status": "The receiver answered with another status than 2xx.",
    "gone": "The receiver wants no more: 410.",
}


def endpoint_shown(endpoint: Endpoint) -> dict[str, Any]:
    """Write an endpoint; its secret is not shown again."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "status": endpoint.state,
        "created_at": rfc3339(endpoint.created_at),
        "pending": endpoint.pending,
        "parked": endpoint.parked,
        "failures": endpoint.failures,
        "failing_since": rfc3339(endpoint.failing_since),
        "next_probe_at": rfc3339(endpoint.next_probe_at),
        "last_success_at": rfc3339(endpoint.succeeded_at),
        "last_failure_at": rfc3339(endpoint.failed_at),
        "last_error": _error_shown(endpoint.last_error),
        "disabled_at": rfc3339(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "has_own_secret": endpoint.has_secret,
        "secret_rotated_at": rfc3339(endpoint.secret_rotated_at),
    }
