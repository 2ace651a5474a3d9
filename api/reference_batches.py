"""What the API reference tells of batches."""

from collections.abc import Mapping

from pydantic import BaseModel

from api.batches.schemas import BatchOptions, FirstLine, VariationsBody
from api.reference_schemas import (
    COUNT,
    NUMBER,
    TEXT,
    TIME,
    URL,
    Schema,
    list_of,
    object_of,
    or_null,
    page_of,
)
from api.reference_words import (
    ADMISSION_ERRORS,
    BODY,
    JSON,
    Operation,
    answer,
    in_json,
    operation,
    parameter,
    ref,
)
from shared.batches import JOBS_MAX, BatchStatus
from shared.jobs import Priority, Status

_NDJSON = "application/x-ndjson"
_ONE = {"input": {"prompt": "A lighthouse at dawn"}}
_LINES = """A `JobBody` a line; the first line may say what holds for the batch (`FirstLine`).
`application/ndjson`, `application/jsonl` and `application/x-jsonlines` mean the same:

    {"batch": {"tags": ["spring"]}}
    {"input": {"prompt": "A lighthouse at dawn"}}
    {"input": {"prompt": "A lighthouse at dusk"}, "metadata": {"sku": "7"}}
"""

BATCH_OPERATIONS: Mapping[str, Operation] = {
    "create_batch": operation(
        "batches",
        {
            202: in_json(
                "Accepted, and every job on disk",
                "Batch",
                *("Location", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy"),
            )
        },
        (
            *BODY,
            "job_deleted",
            "idempotency_key_reused",
            *ADMISSION_ERRORS,
            "accept_unknown",
        ),
        parameters=(
            parameter(
                "header",
                "Idempotency-Key",
                "The same key and body make one batch, within 24 hours",
                type="string",
                maxLength=255,
            ),
        ),
        body={
            "required": True,
            "content": {
                JSON: {
                    "schema": ref("BatchBody"),
                    "examples": {
                        "jobs": {"value": {"jobs": [_ONE, _ONE], "tags": ["spring"]}},
                        "variations": {"value": {**_ONE, "variations": 8}},
                    },
                },
                _NDJSON: {"schema": {"type": "string", "description": _LINES}},
            },
        },
    ),
    "get_batches": operation(
        "batches",
        {200: in_json("A page, newest first", "BatchPage")},
        parameters=(
            parameter(
                "query",
                "limit",
                "Batches on the page",
                type="integer",
                minimum=1,
                maximum=200,
                default=50,
            ),
            parameter("query", "cursor", "`next_cursor` of the page before", **TEXT),
        ),
    ),
    "get_batch": operation("batches", {200: in_json("The batch", "Batch")}, ("not_found",)),
    "cancel_batch": operation(
        "batches", {200: in_json("The batch", "Batch")}, ("not_found", "batch_final")
    ),
    "get_manifest": operation(
        "batches",
        {200: answer("One line a job, or a ZIP", {_NDJSON: {}, "application/zip": {}})},
        ("not_found", "storage_down"),
        parameters=(
            parameter("query", "format", "`zip`: with the pictures", enum=["ndjson", "zip"]),
        ),
    ),
}

_BATCH = object_of(
    {
        "id": TEXT,
        "status": {"enum": [status.value for status in BatchStatus]},
        "total": COUNT,
        "counts": object_of({status.value: COUNT for status in Status}, "Its jobs by status"),
        "progress": {**NUMBER, "description": "The part that is final, from 0 to 1"},
        "eta_seconds": {
            **or_null(NUMBER),
            "description": "Until the last is final, from its own pace; null before any is",
        },
        "priority": {"enum": [priority.value for priority in Priority]},
        "metadata": {"type": "object", "additionalProperties": TEXT},
        "tags": list_of(TEXT),
        "webhook": or_null(object_of({"url": URL, "events": list_of(TEXT)})),
        "created_at": TIME,
        "started_at": or_null(TIME),
        "canceled_at": or_null(TIME),
        "completed_at": or_null(TIME),
    }
)

#: A body of many jobs: what holds for all of them stands beside.
_BATCH_JOBS: Schema = {
    "allOf": [
        ref("BatchOptions"),
        {
            "type": "object",
            "properties": {
                "jobs": {
                    "type": "array",
                    "items": ref("JobBody"),
                    "minItems": 1,
                    "maxItems": JOBS_MAX,
                    "description": "`fail_fast`, `dry_run` and `reuse` are for a single job only",
                }
            },
            "required": ["jobs"],
        },
    ],
    "unevaluatedProperties": False,
}

BATCH_SCHEMAS: Mapping[str, Schema] = {
    "Batch": _BATCH,
    "BatchPage": page_of("Batch"),
    "BatchBody": {"anyOf": [_BATCH_JOBS, ref("VariationsBody")]},
}

#: The bodies that can be sent, beside `BatchBody`.
BATCH_BODIES: tuple[type[BaseModel], ...] = (BatchOptions, FirstLine, VariationsBody)
