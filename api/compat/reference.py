"""What the API reference tells of the dialects."""

from collections.abc import Mapping
from typing import Any

from api.compat.openai.schemas import ImagesBody
from api.compat.replicate.schemas import PredictionBody
from api.problems import MEDIA_TYPE
from shared.model_catalog import MODELS

Schema = dict[str, Any]

_JSON = "application/json"
_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_ANY = {"type": "object"}
#: Why a request is refused, by status.
_REASONS: Mapping[int, str] = {
    400: "Something in it is wrong, or the provider refuses to make it",
    401: "A valid API key is needed",
    403: "This key may not do that",
    404: "There is nothing here",
    410: "The job of this idempotency key was deleted",
    413: "The body is too large",
    415: "The body must be JSON",
    422: "Something in it is wrong: every fault is named",
    429: "Too much of your own: requests, queued jobs or credits",
    500: "An error of ours",
    502: "The image could not be made, or the storage sent it damaged",
    503: "The service cannot do it now, or has too much to do: try again",
    504: "Not finished yet: a retry waits on",
}
_KEYED = (401, 403, 500, 503)
_ACCEPTING = (404, 410, 413, 415, 429)


def describe(name: str) -> Schema:
    """Give what the reference says of a route."""
    return {"operation_id": name, **_OPERATIONS[name]}


def schemas(ref: str) -> Schema:
    """Give the shapes that the dialects' routes refer to; `ref` begins a reference to a shape."""
    prediction = PredictionBody.model_json_schema(ref_template=f"{ref}{{model}}")
    named = prediction.pop("$defs", {})
    return {
        **named,
        "ImagesBody": _images_body(),
        "PredictionBody": prediction,
        **_SHAPES,
    }


def _images_body() -> Schema:
    """Put OpenAI's members and those of the models into one shape."""
    schema = ImagesBody.model_json_schema()
    for model in MODELS.values():
        own = model.schema()
        schema["properties"] = {**own["properties"], **schema["properties"]}
        schema["required"] = own["required"]
    return schema


def _object(*names: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(names), "properties": properties}


_SHAPES: Mapping[str, Schema] = {
    "Images": _object(
        "created",
        "data",
        created={"type": "integer"},
        data={
            "type": "array",
            "items": _object(url={"type": "string", "format": "uri"}, b64_json=_TEXT),
        },
        output_format=_TEXT,
        size=_TEXT,
    ),
    "OpenAIError": _object(
        "error",
        error=_object(
            "message",
            "type",
            "param",
            "code",
            message=_TEXT,
            type=_TEXT,
            param={"type": ["string", "null"]},
            code=_TEXT,
        ),
    ),
    "Prediction": _object(
        *("id", "model", "version", "status", "input", "output", "error", "created_at", "urls"),
        id=_TEXT,
        model=_TEXT,
        version=_TEXT,
        status={"enum": ["starting", "processing", "succeeded", "failed", "canceled"]},
        input=_ANY,
        output={"type": ["array", "null"], "items": _TEXT},
        logs=_TEXT,
        error={"type": ["string", "null"]},
        created_at=_MOMENT,
        started_at={"type": ["string", "null"]},
        completed_at={"type": ["string", "null"]},
        metrics=_ANY,
        urls=_object("get", "cancel", get=_TEXT, cancel=_TEXT),
    ),
    "ReplicatePage": _object(
        *("previous", "next", "results"),
        previous={"type": ["string", "null"]},
        next={"type": ["string", "null"]},
        results={"type": "array", "items": _ANY},
    ),
    "ReplicateError": _object(
        *("type", "title", "status", "detail"),
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        invalid_fields={"type": "array", "items": _ANY},
    ),
}


def _shape(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(media_type: str, name: str) -> Schema:
    return {media_type: {"schema": _shape(name) if name in {*_SHAPES, *_BODIES} else _ANY}}


_BODIES = frozenset({"ImagesBody", "PredictionBody"})


def _operation(
    dialect: str,
    answers: Mapping[int, str],
    refusals: tuple[int, ...],
    shape: str = "",
    body: str = "",
    parameters: tuple[Schema, ...] = (),
) -> Schema:
    error = (_JSON, "OpenAIError") if dialect == "openai" else (MEDIA_TYPE, "ReplicateError")
    responses: dict[int | str, Schema] = {
        status: {"description": text, "content": _content(_JSON, shape)}
        for status, text in answers.items()
    }
    for status in sorted({*_KEYED, *refusals}):
        responses[status] = {"description": _REASONS[status], "content": _content(*error)}
    extra: Schema = {"security": [{"key": []}]}
    if parameters:
        extra["parameters"] = list(parameters)
    if body:
        extra["requestBody"] = {"required": True, "content": _content(_JSON, body)}
    return {
        "tags": [dialect],
        "status_code": next(iter(answers)),
        "responses": responses,
        "openapi_extra": extra,
    }


def _parameter(location: str, name: str, description: str, schema: Schema) -> Schema:
    return {"in": location, "name": name, "description": description, "schema": schema}


_KEY = _parameter(
    "header", "Idempotency-Key", "The same key and body make the same jobs, within 24 hours", _TEXT
)
_REPLICATE_HEADERS = (
    _KEY,
    _parameter("header", "Prefer", "`wait` (60 s) or `wait=N`, 1 to 60 seconds", _TEXT),
    _parameter("header", "Cancel-After", "Canceled after this: `90`, `90s`, `1h30m`", _TEXT),
)
_MADE = {201: "Accepted, or final where the answer was held", 202: "Not final after the wait"}


def _created() -> Schema:
    return _operation(
        "replicate",
        _MADE,
        (422, 502, *_ACCEPTING),
        "Prediction",
        "PredictionBody",
        _REPLICATE_HEADERS,
    )


def _read(shape: str = "", *parameters: Schema, refusals: tuple[int, ...] = (404, 422)) -> Schema:
    return _operation("replicate", {200: "Here it is"}, refusals, shape, "", parameters)


_OPERATIONS: Mapping[str, Schema] = {
    "openai_create_images": _operation(
        "openai",
        {200: "All images that were asked for"},
        (400, 502, 504, *_ACCEPTING),
        "Images",
        "ImagesBody",
        (
            _KEY,
            _parameter("header", "x-stainless-retry-count", "The client's own count", _TEXT),
            _parameter("query", "api-version", "Taken, and changes nothing", _TEXT),
        ),
    ),
    "openai_get_models": _operation("openai", {200: "All of them"}, (400,)),
    "openai_get_model": _operation("openai", {200: "The model"}, (400, 404)),
    "replicate_create_prediction": _created(),
    "replicate_create_model_prediction": _created(),
    "replicate_get_prediction": _read("Prediction", refusals=(404, 422, 502)),
    "replicate_cancel_prediction": _read("Prediction", refusals=(404, 422, 502)),
    "replicate_get_predictions": _read(
        "ReplicatePage",
        _parameter("query", "cursor", "Of `next`", _TEXT),
        _parameter("query", "created_after", "Later than this", _MOMENT),
        _parameter("query", "created_before", "Earlier than this", _MOMENT),
    ),
    "replicate_get_models": _read("ReplicatePage"),
    "replicate_get_model": _read(),
    "replicate_get_versions": _read("ReplicatePage"),
    "replicate_get_version": _read(),
    "replicate_get_account": _read(),
    "replicate_get_webhook_secret": _read(),
}
