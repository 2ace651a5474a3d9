"""What the API reference tells beside the routes' own words: parameters, answers, problems."""

from collections.abc import Mapping
from typing import Any

from api.compat import reference as dialects
from api.jobs.schemas import DEADLINE_SECONDS_MAX, JobBody
from api.reference_batches import BATCH_BODIES, BATCH_OPERATIONS, BATCH_SCHEMAS
from api.reference_schemas import SCHEMAS
from api.reference_webhook_schemas import WEBHOOK_SCHEMAS
from api.reference_webhooks import BODIES, WEBHOOK_OPERATIONS
from api.reference_words import (
    ADMISSION_ERRORS,
    BODY,
    JSON,
    MOMENT,
    NO_CONTENT,
    REF,
    TEXT,
    WAIT,
    Operation,
    answer,
    in_json,
    operation,
    parameter,
    ref,
)
from shared.errors import ErrorCode
from shared.jobs import Status
from shared.model_catalog import DEFAULT_MODEL, MODELS
from shared.store.functions import USAGE_DAYS

SPORTS_CAR: Mapping[str, Any] = {
    "model": DEFAULT_MODEL,
    "input": {
        "prompt": ("A sleek electric sports car on an empty highway at night, cinematic lighting"),
        "aspect_ratio": "16:9",
        "num_inference_steps": 4,
        "go_fast": True,
        "megapixels": "1",
        "output_format": "webp",
        "output_quality": 80,
    },
}


def describe(name: str) -> Operation:
    """Give what the reference says of a route."""
    operations = {**_OPERATIONS, **WEBHOOK_OPERATIONS, **BATCH_OPERATIONS}
    return {"operation_id": name, **operations[name]}


_IMAGES = ("image/webp", "image/jpeg", "image/png")

#: What a request that makes a job takes beside its body, and how it is answered.
_ACCEPTING = (
    parameter(
        "header",
        "Idempotency-Key",
        "The same key and body make one job, within 24 hours",
        type="string",
        maxLength=255,
    ),
    parameter("header", "Prefer", "`wait=N`, 1 to 60 seconds", **TEXT),
    parameter("header", "traceparent", "Your trace: job and webhooks become part of it", **TEXT),
)
_ACCEPTED: Mapping[int | str, Operation] = {
    202: in_json(
        "Accepted, and on disk",
        "Job",
        *("Location", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy"),
    ),
    200: in_json("Final, where `Prefer: wait` was sent", "Job", "Preference-Applied"),
}
_DRY_RUN = answer(
    "Final, where `Prefer: wait` was sent; or what would be, where `dry_run` was",
    {JSON: {"schema": {"anyOf": [ref("Job"), ref("Forecast")]}}},
    *("Preference-Applied", "RateLimit", "RateLimit-Policy"),
)
_NOT_ACCEPTED = ("job_deleted", "idempotency_key_reused", *ADMISSION_ERRORS, "accept_unknown")

_OPERATIONS: Mapping[str, Operation] = {
    "create_job": operation(
        "jobs",
        {**_ACCEPTED, 200: _DRY_RUN},
        (*BODY, *_NOT_ACCEPTED, "wait_limit_exceeded"),
        parameters=_ACCEPTING,
        body={
            "required": True,
            "content": {
                JSON: {
                    "schema": ref("JobBody"),
                    "examples": {
                        "sports car": {"value": SPORTS_CAR},
                        "only a prompt": {"value": {"input": {"prompt": "A lighthouse at dawn"}}},
                    },
                }
            },
        },
    ),
    "get_job": operation(
        "jobs",
        {200: in_json("The job", "Job", "ETag"), 304: {"description": "It has not changed"}},
        ("not_found",),
        parameters=(
            parameter("query", "wait", "Hold the answer for a change, in seconds", **WAIT),
            parameter("header", "If-None-Match", "The `ETag` that is known", **TEXT),
        ),
    ),
    "get_jobs": operation(
        "jobs",
        {200: in_json("A page, newest first", "JobPage")},
        parameters=(
            parameter("query", "status", "Only these", enum=[word.value for word in Status]),
            parameter("query", "batch_id", "Only of this batch", **TEXT),
            parameter("query", "tag", "Only with this tag", **TEXT),
            parameter("query", "model", "Only of this model", **TEXT),
            parameter("query", "error_code", "Only these", enum=[word.value for word in ErrorCode]),
            parameter("query", "created_after", "Later than this", **MOMENT),
            parameter("query", "created_before", "Earlier than this", **MOMENT),
            parameter(
                "query",
                "limit",
                "Jobs on the page",
                type="integer",
                minimum=1,
                maximum=200,
                default=50,
            ),
            parameter("query", "cursor", "`next_cursor` of the page before", **TEXT),
        ),
    ),
    "get_events": operation(
        "jobs",
        {
            200: answer("One event for each change", {"text/event-stream": {}}),
            204: {"description": "Nothing is left to tell of this final job"},
        },
        ("not_found",),
        parameters=(parameter("header", "Last-Event-ID", "Go on after this", **TEXT),),
    ),
    "get_image": operation(
        "jobs",
        {
            200: answer("The picture", {name: {} for name in _IMAGES}, "ETag"),
            206: answer("The range", {name: {} for name in _IMAGES}, "Content-Range"),
            302: {"description": "Where the storage has it, unchecked (`redirect=1`)"},
            304: {"description": "It is the one that is known"},
        },
        (
            "signature_invalid",
            "not_found",
            "no_image",
            "image_missing",
            "image_not_ready",
            "range_not_satisfiable",
            "image_damaged",
            "storage_down",
        ),
        signed=True,
        parameters=(
            parameter("query", "redirect", "1: lead to the storage", type="integer", enum=[0, 1]),
            parameter("query", "expires", "Of a signed address", **TEXT),
            parameter("query", "signature", "Of a signed address: no key is needed", **TEXT),
            parameter("header", "Range", "One range of bytes", **TEXT),
        ),
    ),
    "cancel_job": operation(
        "jobs", {200: in_json("The job, canceled", "Job")}, ("not_found", "job_final")
    ),
    "retry_job": operation(
        "jobs",
        {200: in_json("The job, queued", "Job")},
        ("not_found", "job_final", "job_not_final", *ADMISSION_ERRORS),
    ),
    "reproduce_job": operation(
        "jobs", _ACCEPTED, ("not_found", *_NOT_ACCEPTED), parameters=_ACCEPTING
    ),
    "delete_job": operation("jobs", {204: NO_CONTENT}, ("not_found", "job_not_final")),
    "get_usage": operation(
        "usage",
        {200: in_json("What you may and have used", "Usage", "RateLimit", "RateLimit-Policy")},
        parameters=(
            parameter(
                "query",
                "days",
                "So many days, today included",
                type="integer",
                minimum=1,
                maximum=USAGE_DAYS,
                default=30,
            ),
        ),
    ),
    "get_models": operation("models", {200: in_json("All of them", "ModelList")}),
    "get_model": operation("models", {200: in_json("The model", "Model")}, ("not_found",)),
    "healthz": operation("health", {200: {"description": "The process lives"}}, keyed=False),
    "readyz": operation(
        "health", {200: {"description": "It can take work"}}, ("not_ready",), keyed=False
    ),
    "get_metrics": operation(
        "health", {200: answer("Prometheus", {"text/plain": {"schema": TEXT}})}, keyed=False
    ),
    "get_problem": operation(
        "health",
        {200: {"description": "What this code means"}},
        ("not_found", "invalid_request"),
        keyed=False,
    ),
}


def complete(document: Operation) -> Operation:
    """Add the shapes that the routes refer to, and how a key is sent."""
    schema = JobBody.model_json_schema(ref_template=f"{REF}{{model}}")
    named = {**schema.pop("$defs", {}), "JobBody": schema}
    named |= {**SCHEMAS, **WEBHOOK_SCHEMAS, **BATCH_SCHEMAS}
    for body in (*BODIES, *BATCH_BODIES):
        shape = body.model_json_schema(ref_template=f"{REF}{{model}}")
        named |= {**shape.pop("$defs", {}), body.__name__: shape}
    inputs = {model.input.__name__: model.schema() for model in MODELS.values()}
    schema["properties"]["input"] = {"anyOf": [ref(name) for name in inputs]}
    schema["properties"]["deadline_seconds"]["maximum"] = DEADLINE_SECONDS_MAX
    for operations in document["paths"].values():
        for one in operations.values():
            # the framework's own shape of a fault; no route of ours answers with it
            if "HTTPValidationError" in str(one["responses"].get("422")):
                del one["responses"]["422"]
    components = document.setdefault("components", {})
    components["schemas"] = {**named, **inputs, **dialects.schemas(REF)}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document
