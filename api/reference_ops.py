"""What the API reference tells of the operator's side."""

from collections.abc import Mapping

from pydantic import BaseModel

from api.ops.schemas import (
    BulkBody,
    KeyBody,
    LimitsBody,
    RedeliverAllBody,
    RotateBody,
    TenantBody,
)
from api.reference_schemas import COUNT, JOB, NUMBER, TIME, Schema, list_of, object_of, or_null
from api.reference_watching import WATCHING_SCHEMAS, now_schema, watching_operations
from api.reference_words import (
    BODY,
    MOMENT,
    NO_CONTENT,
    REF,
    TEXT,
    Operation,
    in_json,
    operation,
    parameter,
    ref,
)
from shared.api_keys import Scope
from shared.celery_app import QueueName
from shared.errors import ErrorCode
from shared.jobs import Status
from shared.store.tenants import KeyState

_BODIES = (BulkBody, KeyBody, LimitsBody, RedeliverAllBody, RotateBody, TenantBody)
_TAG = "operators"
_LIMIT = parameter(
    "query", "limit", "Entries on the page", type="integer", minimum=1, maximum=200, default=50
)
_CURSOR = parameter("query", "cursor", "`next_cursor` of the page before", **TEXT)


def describe_ops(name: str) -> Operation:
    """Give what the reference says of a route of operators."""
    return {"operation_id": name, **_OPERATIONS[name]}


def _body(model: type[BaseModel], *, required: bool = True) -> Operation:
    schema = {"application/json": {"schema": ref(model.__name__)}}
    return {"required": required, "content": schema}


_TENANT: Schema = object_of(
    {
        "name": TEXT,
        "weight": NUMBER,
        "max_running": or_null(COUNT),
        "max_queued": or_null(COUNT),
        "requests_per_minute": or_null(COUNT),
        "daily_credits": or_null(NUMBER),
        "budget_action": or_null({"enum": ["hold", "refuse"]}),
        "may_disable_safety": {"type": "boolean"},
        "created_at": or_null(TIME),
        "queued": COUNT,
        "running": COUNT,
        "warnings": list_of(TEXT),
    }
)
_KEY: Schema = object_of(
    {
        "id": TEXT,
        "prefix": TEXT,
        "state": {"enum": [state.value for state in KeyState]},
        "scopes": list_of({"enum": [scope.value for scope in Scope]}),
        "label": TEXT,
        "created_at": TIME,
        "expires_at": or_null(TIME),
        "revoked_at": or_null(TIME),
        "last_used_at": or_null(TIME),
        "replaced_by": or_null(TEXT),
    }
)
_QUEUE: Schema = object_of(
    {
        "name": {"enum": [name.value for name in QueueName]},
        "depth": COUNT,
        "oldest_age_seconds": NUMBER,
        "in_flight": COUNT,
        "paused": {"type": "boolean"},
        "paused_at": or_null(TIME),
        "blocked_by": or_null(TEXT),
    }
)
_GATE: Schema = object_of(
    {
        "holds": list_of(
            object_of(
                {
                    "reason": TEXT,
                    "scope": {"enum": ["all", "key", "team", "model"]},
                    "subject": {**or_null(TEXT), "description": "Which key, team or model"},
                    "state": {
                        "enum": ["active", "probing", "over"],
                        "description": "over: the next call tries whether all is well again",
                    },
                    "until": TIME,
                    "failures_in_a_row": COUNT,
                    "credits_needed": or_null(NUMBER),
                    "credits_left": or_null(NUMBER),
                    "image_host": or_null(TEXT),
                }
            )
        ),
        "keys": list_of(
            object_of(
                {
                    "id": TEXT,
                    "masked": {**or_null(TEXT), "description": "The end of the key"},
                    "team": {**TEXT, "description": "Keys of one team share its credits"},
                    "dead_since": or_null(TIME),
                    "held_by": {**or_null(TEXT), "description": "Why the key is not used"},
                }
            )
        ),
        "removed_models": list_of(TEXT),
        "paused_models": list_of(TEXT),
    }
)
_ENTRY: Schema = object_of(
    {
        "id": TEXT,
        "at": TIME,
        "by": TEXT,
        "action": TEXT,
        "target": TEXT,
        "detail": {"type": "object"},
        "request_id": or_null(TEXT),
    }
)


def _with(schema: Schema, name: str) -> Schema:
    """Add a secret that is shown once."""
    return object_of({**schema["properties"], name: TEXT})


def _page(schema: Schema) -> Schema:
    return object_of({"data": list_of(schema), "next_cursor": or_null(TEXT)})


_SCHEMAS: Mapping[str, Schema] = {
    "Tenant": _TENANT,
    "NewTenant": _with(_TENANT, "webhook_secret"),
    "TenantPage": _page(ref("Tenant")),
    "Key": _KEY,
    "NewKey": _with(_KEY, "key"),
    "KeyList": object_of({"data": list_of(ref("Key"))}),
    "Queue": _QUEUE,
    "QueueList": object_of({"data": list_of(ref("Queue")), "gate": _GATE}),
    "SwitchedModel": object_of({"id": TEXT, "paused": {"type": "boolean"}}),
    "AnyJobPage": _page(_with(JOB, "tenant")),
    "Moved": object_of(
        {
            "count": COUNT,
            "more": {"type": "boolean"},
            "moved": COUNT,
            "refused": {"type": "object", "additionalProperties": COUNT},
        }
    ),
    "AuditPage": _page(_ENTRY),
    "Overview": now_schema(ref("Queue"), _GATE),
    **WATCHING_SCHEMAS,
}

_NEW_KEY: Mapping[int | str, Operation] = {201: in_json("The key, shown once", "NewKey")}
_SWITCHED = operation(_TAG, {200: in_json("The queue", "Queue")}, ("not_found",))
_SWITCHED_MODEL = operation(_TAG, {200: in_json("The model", "SwitchedModel")}, ("not_found",))
_BULK = operation(
    _TAG,
    {200: in_json("How many fit, and how many were moved", "Moved")},
    ("count_changed", "redis_full", *BODY),
    body=_body(BulkBody),
)

_OPERATIONS: Mapping[str, Operation] = {
    "get_tenants": operation(
        _TAG,
        {200: in_json("A page, by name", "TenantPage")},
        parameters=(_LIMIT, _CURSOR),
    ),
    "post_tenant": operation(
        _TAG,
        {201: in_json("The tenant and its webhook secret", "NewTenant", "Location")},
        ("tenant_exists", "redis_full", *BODY),
        body=_body(TenantBody),
    ),
    "get_tenant": operation(_TAG, {200: in_json("The tenant", "Tenant")}, ("not_found",)),
    "patch_tenant": operation(
        _TAG,
        {200: in_json("The tenant", "Tenant")},
        ("not_found", *BODY),
        body=_body(LimitsBody),
    ),
    "get_keys": operation(_TAG, {200: in_json("All of them", "KeyList")}, ("not_found",)),
    "post_key": operation(
        _TAG,
        _NEW_KEY,
        ("not_found", "too_many_keys", "redis_full", *BODY),
        body=_body(KeyBody),
    ),
    "rotate_key": operation(
        _TAG,
        _NEW_KEY,
        ("not_found", "too_many_keys", "key_inactive", "key_replaced", "redis_full", *BODY),
        body=_body(RotateBody, required=False),
    ),
    "delete_key": operation(_TAG, {204: NO_CONTENT}, ("not_found",)),
    "get_queues": operation(_TAG, {200: in_json("Both, and the gate", "QueueList")}),
    "pause_queue": _SWITCHED,
    "resume_queue": _SWITCHED,
    "pause_model": _SWITCHED_MODEL,
    "resume_model": _SWITCHED_MODEL,
    "get_all_jobs": operation(
        _TAG,
        {200: in_json("A page, newest first", "AnyJobPage")},
        parameters=(
            parameter("query", "id", "Only those whose ids begin so", **TEXT),
            parameter("query", "batch_id", "Only of this batch", **TEXT),
            parameter("query", "status", "Only these", enum=[word.value for word in Status]),
            parameter("query", "error_code", "Only these", enum=[word.value for word in ErrorCode]),
            parameter("query", "tenant", "Only of this tenant", **TEXT),
            parameter("query", "tag", "Only with this tag", **TEXT),
            parameter("query", "model", "Only of this model", **TEXT),
            parameter("query", "created_after", "Later than this", **MOMENT),
            parameter("query", "created_before", "Earlier than this", **MOMENT),
            _LIMIT,
            _CURSOR,
        ),
    ),
    **watching_operations((_LIMIT, _CURSOR)),
    "retry_jobs": _BULK,
    "cancel_jobs": _BULK,
    "get_audit": operation(
        _TAG,
        {200: in_json("A page, newest first", "AuditPage")},
        parameters=(_LIMIT, _CURSOR),
    ),
}


def complete_ops(document: Operation) -> Operation:
    """Add the shapes that the operator's routes refer to."""
    named = dict(_SCHEMAS)
    for model in _BODIES:
        schema = model.model_json_schema(ref_template=f"{REF}{{model}}")
        named |= {**schema.pop("$defs", {}), model.__name__: schema}
    document["components"]["schemas"] |= named
    return document
