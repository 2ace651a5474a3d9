"""Convert Redis hashes to values, and the JSON inside them. Times are milliseconds since 1970."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from shared.batches import Batch, BatchSpec
from shared.errors import ErrorCode, JobError
from shared.jobs import (
    AttemptError,
    Image,
    Job,
    JobSpec,
    OnUnknown,
    Priority,
    ProviderResult,
    Retention,
    State,
    StateChange,
    Status,
)
from shared.words import words_text

#: Defaults of fields that a job's record omits.
DEFAULTS: Mapping[str, str] = {
    "run": "1",
    "fence": "0",
    "priority": Priority.NORMAL.value,
    "on_unknown": OnUnknown.RETRY.value,
}


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return a dictionary of name, value, name, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def named(record: Mapping[str, str], kind: str) -> dict[str, str]:
    """Return the fields of a hash that are named `kind:…`, without the kind."""
    return {
        name.removeprefix(f"{kind}:"): value
        for name, value in record.items()
        if name.startswith(f"{kind}:")
    }


def seconds_or_none(milliseconds: str | int) -> float | None:
    """Convert a time from a script, in milliseconds; negative means unknown."""
    return int(milliseconds) / 1000 if int(milliseconds) >= 0 else None


def spec_json(spec: JobSpec) -> str:
    """Write the spec, without what has fields of its own."""
    parts: dict[str, Any] = {"input": dict(spec.input)}
    if webhook := webhook_fields(spec.webhook).rest:
        parts["webhook"] = webhook
    if spec.metadata:
        parts["metadata"] = dict(spec.metadata)
    if spec.reuse:
        parts["reuse"] = True
    return orjson.dumps(parts).decode()


class WebhookFields(NamedTuple):
    """A webhook in a record: what the Lua functions read has fields of its own."""

    url: str
    #: event types, separated by spaces
    events: str
    #: what is stored in the spec: headers, payload
    rest: dict[str, Any]


def webhook_fields(webhook: Mapping[str, Any] | None) -> WebhookFields:
    """Split a webhook into fields; '' if there is none."""
    parts = dict(webhook or {})
    return WebhookFields(parts.pop("url", ""), " ".join(parts.pop("events", ())), parts)


def tags_text(tags: Sequence[str]) -> str:
    """Write tags for a record: one per line, because none contains a line break."""
    return "\n".join(tags)


def prompt_words(spec: JobSpec) -> str:
    """Return the words of a prompt as a record stores them; '' for ASCII, which Redis splits."""
    prompt = spec.input.get("prompt", "")
    return "" if prompt.isascii() else words_text(prompt)


def _webhook(record: Mapping[str, str], rest: Mapping[str, Any]) -> dict[str, Any] | None:
    if "webhook_url" not in record:
        return None
    return {"url": record["webhook_url"], "events": record["webhook_events"].split(), **rest}


def request_hash(spec: JobSpec, model: str = "") -> str:
    """Return a hash of the model and its whole input, equal for identical requests.

    `model` is the one that made the image, if it is not the requested one.
    """
    canonical = orjson.dumps([model or spec.model, dict(spec.input)], option=orjson.OPT_SORT_KEYS)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()[:18]).decode()


#: Fields that are times only once something has happened.
_TIMES = (
    *("enqueued", "started", "claimed", "finished", "due"),
    *("expires", "image_expires", "image_deleted"),
)


def job_of(job_id: str, record: Mapping[str, str]) -> Job:
    """Parse a job's hash."""
    record = {**DEFAULTS, **record}
    return Job(
        id=job_id,
        tenant=record["tenant"],
        spec=spec_of(record),
        state=State(record["state"]),
        version=int(record["version"]),
        run=int(record["run"]),
        attempt=int(record["attempt"]),
        max_attempts=int(record["max_attempts"]),
        priority=Priority(record["priority"]),
        fence=int(record["fence"]),
        calls=int(record.get("calls", 0)),
        unknown_outcomes=int(record.get("unknown", 0)),
        regenerated=int(record.get("regenerated", 0)),
        worker_losses=int(record.get("worker_losses", 0)),
        created_at=int(record["created"]),
        deadline_at=int(record["deadline"]),
        **{f"{name}_at": _number(record, name) for name in _TIMES},
        batch_id=record.get("batch"),
        error_code=_error_code(record, "error_code"),
        error_message=record.get("error_message"),
        error_retryable=record.get("error_retryable") == "1",
        spare_calls_used=int(record.get("spare_calls", 0)),
        last_error_code=_error_code(record, "last_error_code"),
        attempt_errors=_attempt_errors(record),
        reused_from=record.get("reused_from"),
        record_id=record.get("record_id") or None,
        pending_record=record.get("pending"),
        call_key=record.get("call_key", ""),
        answer=_answer(record.get("answer")),
        image=image_of(record["image"]) if "image" in record else None,
        timings=_timings(record),
        history=_history(record),
        trace=record.get("trace"),
        is_prompt_withheld="prompt_withheld" in record,
        fallback=record["model"] if record["model"] != _models(record)[0] else None,
    )


def _models(record: Mapping[str, str]) -> tuple[str, ...]:
    """Return the requested model and its fallbacks."""
    return tuple(record.get("models", record["model"]).split())


def _error_code(record: Mapping[str, str], name: str) -> ErrorCode | None:
    return ErrorCode(record[name]) if name in record else None


#: Bytes kept of one failed attempt: ten of them still fit a compact record.
EXCERPT_BYTES = 300


def excerpt_json(error: JobError) -> str:
    """Write what is kept of a failed attempt: the response, or our description of it."""
    text = (error.evidence or str(error)).encode()[:EXCERPT_BYTES].decode(errors="ignore")
    return orjson.dumps({"code": error.code.value, "said": text}).decode()


def batch_json(spec: BatchSpec) -> str:
    """Write the spec of a batch."""
    parts: dict[str, Any] = {"priority": spec.priority.value}
    if webhook := webhook_fields(spec.webhook).rest:
        parts["webhook"] = webhook
    if spec.metadata:
        parts["metadata"] = dict(spec.metadata)
    if spec.tags:
        parts["tags"] = list(spec.tags)
    return orjson.dumps(parts).decode()


def batch_of(batch_id: str, record: Mapping[str, str]) -> Batch:
    """Parse a batch's hash."""
    parts = orjson.loads(record["spec"])
    return Batch(
        id=batch_id,
        tenant=record["tenant"],
        spec=BatchSpec(
            priority=Priority(parts["priority"]),
            webhook=_webhook(record, parts.get("webhook", {})),
            metadata=parts.get("metadata", {}),
            tags=tuple(parts.get("tags", ())),
        ),
        size=int(record["size"]),
        counts={status: int(record.get(status.value, 0)) for status in Status},
        created_at=int(record["committed"]),
        started_at=_number(record, "started"),
        canceled_at=_number(record, "canceled_at"),
        completed_at=_number(record, "completed"),
        is_canceling="canceling" in record,
        trace=record.get("trace"),
    )


def answer_json(answer: ProviderResult) -> str:
    """Write the provider's answer; without warnings, in the form that older workers also read."""
    parts = asdict(answer)
    if not answer.warnings:
        del parts["warnings"]
    return orjson.dumps(parts).decode()


def image_json(image: Image) -> str:
    """Write a stored image."""
    return orjson.dumps(image).decode()


def _number(record: Mapping[str, str], name: str) -> int | None:
    return int(record[name]) if name in record else None


def spec_of(record: Mapping[str, str]) -> JobSpec:
    """Parse the spec of a job."""
    parts = orjson.loads(record["spec"])
    model, *fallbacks = _models(record)
    return JobSpec(
        model=model,
        input=parts["input"],
        webhook=_webhook(record, parts.get("webhook", {})),
        on_unknown=OnUnknown(record.get("on_unknown", DEFAULTS["on_unknown"])),
        metadata=parts.get("metadata", {}),
        tags=tuple(record["tags"].split("\n")) if "tags" in record else (),
        reuse=parts.get("reuse", False),
        retention=Retention(
            image_seconds=_number(record, "image_retention"),
            record_seconds=_number(record, "record_retention"),
        ),
        fallback_models=tuple(fallbacks),
    )


def _answer(text: str | None) -> ProviderResult | None:
    if not text:
        return None
    parts = orjson.loads(text)
    return ProviderResult(**{**parts, "warnings": tuple(parts.get("warnings", ()))})


def image_of(text: str) -> Image:
    """Parse a stored image."""
    parts = orjson.loads(text)
    return Image(**{**parts, "warnings": tuple(parts["warnings"])})


def _timings(record: Mapping[str, str]) -> dict[str, float]:
    """Return seconds by step, as far as the job has come."""
    found = {
        step: float(record[f"t_{step}"])
        for step in ("provider", "download", "store")
        if f"t_{step}" in record
    }
    if "started" in record:
        came = record.get("enqueued", record["created"])
        found["wait"] = (int(record["started"]) - int(came)) / 1000
    if "finished" in record:
        found["total"] = (int(record["finished"]) - int(record["created"])) / 1000
    return found


def _history(record: Mapping[str, str]) -> tuple[StateChange, ...]:
    created = int(record["created"])
    lines = (line.split(" ") for line in record["hist"].split(";"))
    return tuple(
        StateChange(int(version), created + int(after), State(state), int(attempt))
        for version, after, state, attempt in lines
    )


def _attempt_errors(record: Mapping[str, str]) -> tuple[AttemptError, ...]:
    created = int(record["created"])
    return tuple(
        _attempt_error(created, line) for line in record.get("log", "").split("\n") if line
    )


def _attempt_error(created: int, line: str) -> AttemptError:
    run, attempt, after, outcome, text = line.split(" ", 4)
    stored = orjson.loads(text)
    return AttemptError(
        run=int(run),
        attempt=int(attempt),
        at=created + int(after),
        outcome=outcome,
        code=ErrorCode(stored["code"]) if "code" in stored else None,
        excerpt=stored.get("said"),
    )
