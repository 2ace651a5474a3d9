"""What the API reference tells of what operators watch."""

from collections.abc import Mapping

from api.reference_schemas import (
    COUNT,
    JOB,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    list_of,
    object_of,
    or_null,
)
from api.reference_webhook_schemas import DELIVERY_DETAIL, ENDPOINT, LISTED_DELIVERY
from api.reference_words import BODY, JSON, Operation, in_json, operation, parameter, ref
from shared.api_keys import Scope
from shared.celery_app import QueueName
from shared.errors import ErrorCode
from shared.jobs import DeliveryState, Status
from shared.store.endpoints import EndpointState
from shared.store.stats import COUNTED

_TAG = "operators"
_STEP: Schema = or_null({"enum": ["claimed", "calling", "fetching"]})
_COUNTED: Mapping[str, Schema] = dict.fromkeys(COUNTED, COUNT)
_THREADS = object_of({"processes": COUNT, "threads": COUNT})
_NOTHING = or_null(COUNT)


def now_schema(queue: Schema, gate: Schema) -> Schema:
    """Describe how everything stands, with the shapes of a queue and of the gate."""
    return object_of(
        {
            "at": TIME,
            "jobs": object_of(
                {status.value: COUNT for status in Status}, "Jobs that are kept, by status"
            ),
            "totals": object_of(
                _COUNTED,
                "What ever came of jobs, forgotten ones too: `started` counts attempts, `again` "
                "how often one was queued once more",
            ),
            "failed_by_code": {
                "type": "object",
                "additionalProperties": COUNT,
                "description": "Failed jobs that are kept, by error code",
            },
            "queues": list_of(queue),
            "gate": object_of({**gate["properties"], "rate_per_minute": or_null(NUMBER)}),
            "webhooks": object_of(
                {
                    "pending": COUNT,
                    "parked": COUNT,
                    "endpoints_failing": COUNT,
                    "endpoints_disabled": COUNT,
                }
            ),
            "workers": object_of({name.value: _THREADS for name in QueueName}),
            "sweep_age_seconds": NUMBER,
            "redis": object_of(
                {
                    "used_bytes": COUNT,
                    "limit_bytes": _NOTHING,
                    "durable": {"type": "boolean"},
                    "faults": {**list_of(TEXT), "description": "Why it must not be given jobs"},
                }
            ),
        }
    )


_COLUMNS: Mapping[str, Schema] = {
    "at": list_of(TIME),
    **{name: list_of(_NOTHING) for name in COUNTED},
    "waiting": list_of(_NOTHING),
    "running": list_of(_NOTHING),
    "webhooks": list_of(_NOTHING),
    "oldest_age_seconds": list_of(or_null(NUMBER)),
    "blocked_by": list_of(or_null(TEXT)),
}
_HELD = object_of(
    {
        "id": {**TEXT, "description": "A job's or a delivery's"},
        "tenant": TEXT,
        "step": TEXT,
        "attempt": COUNT,
        "since": or_null(TIME),
    }
)
_WORKER = object_of(
    {
        "name": TEXT,
        "host": or_null(TEXT),
        "pid": _NOTHING,
        "queue": {"enum": [name.value for name in QueueName]},
        "threads": COUNT,
        "started_at": or_null(TIME),
        "lease_until": TIME,
        "held": list_of(_HELD),
    }
)
_ATTEMPT = object_of(
    {
        "run": COUNT,
        "number": COUNT,
        "started_at": TIME,
        "ended_at": or_null(TIME),
        "seconds": or_null(NUMBER),
        "steps": list_of(object_of({"step": _STEP, "at": TIME})),
        "outcome": {
            "enum": [
                *("running", "succeeded", "failed", "canceled"),
                *("retried", "held_back", "released", "worker_lost"),
            ]
        },
        "error_code": or_null({"enum": [code.value for code in ErrorCode]}),
        "response_excerpt": {
            **or_null(TEXT),
            "description": "What the provider or the storage said, cut",
        },
    },
    "One attempt at a job",
)
_CHANGE = object_of(
    {
        "version": COUNT,
        "at": TIME,
        "status": {"enum": [status.value for status in Status]},
        "step": _STEP,
        "attempt": COUNT,
    }
)
_WHOSE: Mapping[str, Schema] = {"tenant": TEXT, "host": TEXT}

WATCHING_SCHEMAS: Mapping[str, Schema] = {
    "Me": object_of(
        {
            "key_id": TEXT,
            "tenant": or_null(TEXT),
            "scopes": list_of({"enum": [scope.value for scope in Scope]}),
        }
    ),
    "History": object_of(
        {
            "from": TIME,
            "to": TIME,
            "step_seconds": COUNT,
            "points": object_of(
                _COLUMNS,
                "A column for each number, with an entry for each step, null where nobody noted "
                "it. Counts are of the step that ends at `at`",
            ),
            "totals": object_of({"since": TIME, **_COUNTED}, "What happened since the first note"),
        }
    ),
    "WorkerList": object_of(
        {
            "at": TIME,
            "data": list_of(_WORKER),
            "untold": {**list_of(_HELD), "description": "Held, and no worker has said so yet"},
        }
    ),
    "AnyJob": object_of(
        {
            "tenant": TEXT,
            **JOB["properties"],
            "timeline": list_of(_CHANGE),
            "attempts": list_of(_ATTEMPT),
            "workers_lost": {**COUNT, "description": "Workers that were lost while they held it"},
            "trace_id": {**or_null(TEXT), "description": "Under which its trace is found"},
            "deliveries": list_of(ref("AnyDelivery")),
        }
    ),
    "AnyDelivery": object_of({**_WHOSE, **DELIVERY_DETAIL}),
    "AnyDeliveryPage": object_of(
        {"data": list_of(object_of({**_WHOSE, **LISTED_DELIVERY})), "next_cursor": or_null(TEXT)}
    ),
    "AnyEndpoint": object_of({"tenant": TEXT, **ENDPOINT}),
    "AnyEndpointPage": object_of(
        {"data": list_of(ref("AnyEndpoint")), "next_cursor": or_null(TEXT)}
    ),
    "AnyEndpointSecret": object_of({"tenant": TEXT, "secret": TEXT, "previous_signs_until": TIME}),
    "RedeliveredAll": object_of(
        {"count": COUNT, "more": {"type": "boolean"}, "moved": COUNT},
        "How many fit, and how many are sent again",
    ),
}


_HISTORY_PARAMETERS = parameter(
    "query", "minutes", "How far back", type="integer", minimum=1, maximum=2880, default=60
)
_DELIVERY_PARAMETERS = (
    parameter("query", "status", "Only these", enum=[one.value for one in DeliveryState]),
    parameter("query", "tenant", "Only of this tenant", **TEXT),
    parameter("query", "host", "Only to this host", **TEXT),
    parameter("query", "job_id", "Only of this job", **TEXT),
)
_ENDPOINT_PARAMETERS = (
    parameter("query", "status", "Only these", enum=[one.value for one in EndpointState]),
    parameter("query", "tenant", "Only of this tenant", **TEXT),
)


def watching_operations(paging: tuple[Operation, ...]) -> Mapping[str, Operation]:
    """Describe the routes; `paging` are the parameters of every list."""
    return {
        "get_me": operation(_TAG, {200: in_json("What the key is good for", "Me")}),
        "get_overview": operation(_TAG, {200: in_json("How everything stands", "Overview")}),
        "get_history": operation(
            _TAG, {200: in_json("How it went", "History")}, parameters=(_HISTORY_PARAMETERS,)
        ),
        "get_workers": operation(_TAG, {200: in_json("All that live", "WorkerList")}),
        "get_any_job": operation(_TAG, {200: in_json("The job", "AnyJob")}, ("not_found",)),
        "get_all_deliveries": operation(
            _TAG,
            {200: in_json("A page, newest first", "AnyDeliveryPage")},
            parameters=(*_DELIVERY_PARAMETERS, *paging),
        ),
        "get_any_delivery": operation(
            _TAG, {200: in_json("The delivery", "AnyDelivery")}, ("not_found",)
        ),
        "redeliver_any_one": operation(
            _TAG,
            {202: in_json("It is sent again", "AnyDelivery")},
            ("not_found", "delivery_sending", "endpoint_disabled"),
        ),
        "get_all_endpoints": operation(
            _TAG,
            {200: in_json("A page, by tenant and newest first", "AnyEndpointPage")},
            parameters=(*_ENDPOINT_PARAMETERS, *paging),
        ),
        "rotate_any_secret": operation(
            _TAG, {200: in_json("The new secret", "AnyEndpointSecret")}, ("not_found",)
        ),
        "enable_any_endpoint": operation(
            _TAG, {200: in_json("The endpoint, switched on", "AnyEndpoint")}, ("not_found",)
        ),
        "redeliver_all_since": operation(
            _TAG,
            {202: in_json("How many fit, and how many are sent again", "RedeliveredAll")},
            ("count_changed", *BODY),
            body={"required": True, "content": {JSON: {"schema": ref("RedeliverAllBody")}}},
        ),
    }
