"""The shapes of answers, as JSON Schema, for the API reference."""

from collections.abc import Mapping
from typing import Any

from api.problems import KINDS
from shared.errors import ErrorCode
from shared.jobs import IMAGE_WARNINGS, Priority, Status, WaitingOn

Schema = dict[str, Any]


def object_of(properties: Mapping[str, Schema], description: str = "") -> Schema:
    """Describe an object that always has all of its members."""
    schema: Schema = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
    }
    if description:
        schema["description"] = description
    return schema


def or_null(schema: Schema) -> Schema:
    """Describe what may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": schema}


def page_of(name: str) -> Schema:
    """Describe a page of a named shape."""
    return object_of(
        {"data": list_of({"$ref": f"#/components/schemas/{name}"}), "next_cursor": or_null(TEXT)}
    )


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
URL: Schema = {"type": "string", "format": "uri"}
ANY: Schema = {"type": "object"}

_WAITING_ON = or_null({"enum": [reason.value for reason in WaitingOn]})

_IMAGE = object_of(
    {
        "url": URL,
        "key": TEXT,
        "content_type": TEXT,
        "width": COUNT,
        "height": COUNT,
        "bytes": COUNT,
        "sha256": TEXT,
        "warnings": list_of({"enum": list(IMAGE_WARNINGS)}),
    },
    "Where the picture is, and what it is",
)

_ERROR = object_of(
    {
        "code": {"enum": [code.value for code in ErrorCode]},
        "message": TEXT,
        "retryable": {"type": "boolean"},
    }
)

JOB = object_of(
    {
        "id": TEXT,
        "status": {"enum": [status.value for status in Status]},
        "step": or_null({"enum": ["claimed", "calling", "fetching"]}),
        "model": TEXT,
        "input": {**ANY, "description": "Every parameter, defaults and the seed included"},
        "image": or_null(_IMAGE),
        "version": {**COUNT, "description": "Rises with every change"},
        "run": COUNT,
        "reused_from": or_null(TEXT),
        "error": or_null(_ERROR),
        "attempt": COUNT,
        "max_attempts": COUNT,
        "priority": {"enum": [priority.value for priority in Priority]},
        "waiting_on": {**_WAITING_ON, "description": "Why it is not running"},
        "position": {**or_null(COUNT), "description": "Jobs of yours that are before it"},
        "eta_seconds": {
            **or_null(NUMBER),
            "description": "When it is begun, by the drain of your queue; null where not known",
        },
        "batch_id": or_null(TEXT),
        "metadata": {"type": "object", "additionalProperties": TEXT},
        "tags": list_of(TEXT),
        "webhook": or_null(object_of({"url": URL, "events": list_of(TEXT)})),
        "created_at": TIME,
        "started_at": or_null(TIME),
        "finished_at": or_null(TIME),
        "deadline_at": TIME,
        "expires_at": or_null(TIME),
        "timings": object_of(
            {name: or_null(NUMBER) for name in ("wait", "provider", "download", "store", "total")},
            "Seconds by step",
        ),
        "provider": object_of(
            {
                "record_id": or_null(TEXT),
                "calls": COUNT,
                "unknown_outcomes": COUNT,
                "regenerated": COUNT,
            }
        ),
    }
)

_PROBLEM: Schema = {
    **object_of(
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": TEXT,
            "status": COUNT,
            "detail": TEXT,
            "code": {"enum": sorted(KINDS)},
            "request_id": TEXT,
        },
        "What went wrong (RFC 9457)",
    )
}
_PROBLEM["properties"]["errors"] = list_of(object_of({"pointer": TEXT, "message": TEXT}))

_PRICE = or_null(
    object_of({"credits": NUMBER, "estimated": {"const": True}}, "What one call may cost")
)

_MODEL = object_of(
    {
        "id": TEXT,
        "name": TEXT,
        "description": TEXT,
        "state": {
            "enum": ["available", "failing", "removed", "disabled"],
            "description": "failing: its calls fail, and are held until one goes well. removed: "
            "the provider said that it does not offer it; jobs are refused with "
            "`model_unavailable`, but for one a minute that asks again. disabled: an operator "
            "paused it.",
        },
        "input_schema": ANY,
        "defaults": ANY,
        "price": _PRICE,
    }
)

_REFUSAL = object_of(
    {
        "code": {"enum": sorted(KINDS)},
        "title": TEXT,
        "status": COUNT,
        "detail": TEXT,
        "retry_after": or_null(COUNT),
    },
    "The problem that the job would be answered with",
)
_DRY_RUN = object_of(
    {
        "dry_run": {"const": True},
        "would_accept": {"type": "boolean"},
        "refusal": or_null(_REFUSAL),
        "model": TEXT,
        "price": _PRICE,
        "reused_from": or_null(TEXT),
        "waiting_on": _WAITING_ON,
        "position": or_null(COUNT),
        "eta_seconds": or_null(NUMBER),
    },
    "What would become of a job",
)

_SPENDING: dict[str, Schema] = {"calls": COUNT, "credits": or_null(NUMBER)}
_USAGE = object_of(
    {
        "limits": object_of(
            {
                "weight": NUMBER,
                "max_running": or_null(COUNT),
                "max_queued": or_null(COUNT),
                "requests_per_minute": or_null(COUNT),
                "daily_credits": or_null(NUMBER),
                "budget_action": {"enum": ["refuse", "hold"]},
                "may_disable_safety": {"type": "boolean"},
            },
            "null is no limit",
        ),
        "used": object_of(
            {
                "running": COUNT,
                "queued": COUNT,
                "requests": or_null(COUNT),
                "credits": or_null(NUMBER),
                "credits_promised": or_null(NUMBER),
            },
            "Requests of the last minute, credits of today; null where no price is set",
        ),
        "left": object_of(
            {
                "running": or_null(COUNT),
                "queued": or_null(COUNT),
                "requests": or_null(COUNT),
                "credits": or_null(NUMBER),
            }
        ),
        "requests_reset_seconds": or_null(NUMBER),
        "credits_reset_at": TIME,
        "estimated": {"const": True},
        "days": list_of(
            object_of(
                {
                    "date": {"type": "string", "format": "date"},
                    **_SPENDING,
                    "tags": {"type": "object", "additionalProperties": object_of(_SPENDING)},
                },
                "One day, UTC; those without a call are left out",
            )
        ),
    },
    "Credits are an estimate by the operator's prices; the provider tells no cost",
)

SCHEMAS: Mapping[str, Schema] = {
    "Job": JOB,
    "JobPage": page_of("Job"),
    "Forecast": _DRY_RUN,
    "Usage": _USAGE,
    "Problem": _PROBLEM,
    "Model": _MODEL,
    "ModelList": object_of({"data": list_of({"$ref": "#/components/schemas/Model"})}),
}
