"""The options of jobs and batches, and the bodies made of them."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, TypedDict
from uuid import uuid4

from darkroom.errors import Fault, InvalidInput

#: Parameters that hold integers, booleans, and objects.
INTEGERS = frozenset({"output_quality", "num_inference_steps", "seed", "deadline_seconds"})
YES_NO = frozenset({"go_fast", "disable_safety_checker", "reuse"})
OBJECTS = frozenset({"input", "webhook", "fail_fast", "retention", "metadata"})

#: Options of the program whose name differs from what they set.
_OPTIONS = {
    "tags": "tag",
    "payload": "slim",
    "headers": "header",
    "batch_id": "batch",
    "fallback_models": "fallback_model",
}

#: The option with the key of a request, and why an entry of a batch must not have it.
KEY = "idempotency_key"
KEY_FAULT = "is an option of the request, which has one key for all of its jobs"

#: Valid idempotency keys.
_VISIBLE = re.compile(r"[!-~]{1,255}")
#: Members of a job next to `input`; everything else is a parameter of the model.
_ENVELOPE = frozenset(
    {
        *("model", "webhook", "priority", "deadline_seconds", "on_unknown", "reuse", "fail_fast"),
        *("retention", "metadata", "tags", "fallback_models"),
    }
)


class JobOptions(TypedDict, total=False):
    """The options of a job; missing ones have the service's defaults.

    Parameters of the FLUX.2 Klein models: `aspect_ratio` ("1:1", "16:9", "9:16", "3:2", "2:3",
    "4:5", "5:4"), `output_format` ("webp", "jpg", "png"), `output_quality` (0 to 100),
    `num_inference_steps` (1 to 4), `go_fast`, `megapixels` ("0.25" or "1"),
    `disable_safety_checker`, `seed` (the same seed generates the same image). `input` holds the
    parameters of other models, which `Client.models()` describes.

    Of the job: `fallback_models` (models that serve it while `model` is not available, or
    "default"), `deadline_seconds` (it fails if not done by then), `on_unknown` (if the image may or
    may not have been generated and billed), `reuse`, `fail_fast`, `retention`
    (`{"image_seconds": …, "record_seconds": …}`; None: forever), `metadata` and `tags` (yours),
    `webhook` (`{"url": …, "events": […]}`). `idempotency_key`: a repeated request with the same key
    creates nothing new; by default the client generates one for each call.
    """

    model: str
    fallback_models: list[str] | Literal["default"]
    aspect_ratio: str
    output_format: Literal["webp", "jpg", "png"]
    output_quality: int
    num_inference_steps: int
    go_fast: bool
    megapixels: Literal["0.25", "1"]
    disable_safety_checker: bool
    seed: int
    input: Mapping[str, Any]
    webhook: Mapping[str, Any]
    priority: Literal["high", "normal", "low"]
    deadline_seconds: int
    on_unknown: Literal["retry", "fail"]
    reuse: bool
    fail_fast: Mapping[str, Any]
    retention: Mapping[str, int | None]
    metadata: Mapping[str, str]
    tags: list[str]
    idempotency_key: str


class BatchOptions(TypedDict, total=False):
    """The options of a batch; jobs may override priority, deadline, retention and tags.

    `model`, `fallback_models` and `on_unknown` are for a batch of one prompt; each of several jobs
    has its own.
    """

    model: str
    fallback_models: list[str] | Literal["default"]
    on_unknown: Literal["retry", "fail"]
    webhook: Mapping[str, Any]
    priority: Literal["high", "normal", "low"]
    deadline_seconds: int
    retention: Mapping[str, int | None]
    metadata: Mapping[str, str]
    tags: list[str]
    idempotency_key: str


class EndpointOptions(TypedDict, total=False):
    """The settings of an endpoint; missing ones stay as they are.

    `events` make it a standing endpoint, which gets these events of all jobs and batches that name
    no webhook of their own. `enabled=False`: webhooks wait.
    """

    events: list[str]
    description: str
    headers: Mapping[str, str]
    payload: Literal["full", "slim"]
    enabled: bool


class JobFilter(TypedDict, total=False):
    """The filter of a list of jobs; times are RFC 3339.

    A job has all pairs of `metadata`, and its prompt all words of `q`.
    """

    status: Literal["queued", "running", "succeeded", "failed", "canceled"]
    batch_id: str
    tag: str
    model: str
    served_model: str
    error_code: str
    created_after: str
    created_before: str
    metadata: Mapping[str, str]
    seed: int
    q: str


def jobs_query(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Build the query of a list of jobs: each pair of metadata is a parameter of its own."""
    others = {name: value for name, value in wanted.items() if name != "metadata"}
    pairs = wanted.get("metadata") or {}
    return {**others, **{f"metadata.{name}": value for name, value in pairs.items()}}


def usage_query(
    first: date | str | None, last: date | str | None, group_by: Sequence[str]
) -> dict[str, str]:
    """Build the query of a usage report."""
    span = {"from": first, "to": last}
    days = {name: str(day) for name, day in span.items() if day is not None}
    return {**days, "group_by": ",".join(group_by)}


def job_body(prompt: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Build the body of a job: its input, and what stands next to it.

    Raise InvalidInput for an input that is not an object, or has what also stands beside it.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    more = chosen.pop("input", {})
    if not isinstance(more, Mapping):
        raise InvalidInput.of([Fault("/input", "must be an object")])
    chosen.pop(KEY, None)
    body = {name: chosen.pop(name) for name in sorted(_ENVELOPE & chosen.keys())}
    beside = {"prompt": prompt, **chosen}
    if doubled := sorted(beside.keys() & more.keys()):
        message = "is given twice: in `input` and beside it"
        raise InvalidInput.of([Fault(f"/input/{name}", message) for name in doubled])
    return {**body, "input": {**beside, **more}}


def batch_body(
    jobs: Sequence[str | Mapping[str, Any]] | None,
    prompt: str | None,
    variations: int | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the body of a batch; raise ValueError unless it is jobs, or a prompt with variations.

    Each of `jobs` is a prompt, or a mapping with `prompt` and members of JobOptions, or one with
    `input` as in the API.
    """
    if jobs is not None and prompt is None and variations is None:
        if isinstance(jobs, str | Mapping):  # each letter or name would be paid for as a prompt
            raise InvalidInput.of([Fault("/jobs", "must be a list of prompts or jobs")])
        return {"jobs": [_entry(job, f"/jobs/{number}") for number, job in enumerate(jobs)]}
    if jobs is None and prompt is not None and variations is not None:
        return {**job_body(prompt, options), "variations": variations}
    raise ValueError("A batch is either `jobs`, or a `prompt` with `variations`.")


def _entry(job: str | Mapping[str, Any], pointer: str) -> dict[str, Any]:
    if isinstance(job, str):
        return job_body(job, {})
    if not isinstance(job, Mapping):
        raise InvalidInput.of([Fault(pointer, "must be a prompt or a job")])
    if job.get(KEY) is not None:
        raise InvalidInput.of([Fault(f"{pointer}/{KEY}", KEY_FAULT)])
    if "prompt" not in job:
        return dict(job)
    rest = {name: value for name, value in job.items() if name != "prompt"}
    return job_body(job["prompt"], rest)


def option_of(name: str) -> str:
    """Return the option of the program for a parameter."""
    return f"--{_OPTIONS.get(name, name).replace('_', '-')}"


def key_header(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the idempotency key: the trimmed one of the caller, or a new one.

    Raise InvalidInput for one that a header cannot carry.
    """
    given = options.get(KEY)
    key = f"py-{uuid4().hex}" if given is None else given
    bare = key.strip() if isinstance(key, str) else ""
    if not _VISIBLE.fullmatch(bare):
        message = "must be 1 to 255 visible ASCII characters"
        raise InvalidInput.of([Fault(f"/{KEY}", message)])
    return {"Idempotency-Key": bare}
