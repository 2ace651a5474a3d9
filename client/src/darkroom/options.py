"""What can be said about a job or a batch, in the words of the API, and the bodies made of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict
from uuid import uuid4

from darkroom.errors import Fault, InvalidInput

#: What holds whole numbers, what true or false, and what an object.
INTEGERS = frozenset({"output_quality", "num_inference_steps", "seed", "deadline_seconds"})
YES_NO = frozenset({"go_fast", "disable_safety_checker", "reuse"})
OBJECTS = frozenset({"input", "webhook", "fail_fast", "metadata"})

#: Options of the program that have another name than what they set.
_OPTIONS = {"tags": "tag", "payload": "slim", "headers": "header", "batch_id": "batch"}

#: What an idempotency key may be.
_VISIBLE = re.compile(r"[!-~]{1,255}")
#: These stand beside `input` in a job; everything else is a parameter of the model.
_ENVELOPE = frozenset(
    {
        *("model", "webhook", "priority", "deadline_seconds", "on_unknown", "reuse", "fail_fast"),
        *("metadata", "tags"),
    }
)


class JobOptions(TypedDict, total=False):
    """How an image is to be made; whatever is left out has the service's default.

    Parameters of the model: `aspect_ratio` ("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4"),
    `output_format` ("webp", "jpg", "png"), `output_quality` (0 to 100), `num_inference_steps`
    (1 to 4), `go_fast`, `megapixels` ("0.25" or "1"), `disable_safety_checker`, `seed` (the same
    makes the same image again). `input` holds parameters that this client does not know yet.

    Of the job: `deadline_seconds` (it fails if not done by then), `on_unknown` (when the image
    may or may not have been made and billed), `reuse`, `fail_fast`, `metadata` and `tags` (yours),
    `webhook` (`{"url": …, "events": […]}`). `idempotency_key`: asking again with the same key and
    the same words asks for nothing new; without one the client makes its own for each call.
    """

    model: str
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
    metadata: Mapping[str, str]
    tags: list[str]
    idempotency_key: str


class BatchOptions(TypedDict, total=False):
    """What holds for a batch as a whole; jobs may name another priority, deadline and tags."""

    webhook: Mapping[str, Any]
    priority: Literal["high", "normal", "low"]
    deadline_seconds: int
    metadata: Mapping[str, str]
    tags: list[str]
    idempotency_key: str


class JobFilter(TypedDict, total=False):
    """Which jobs to list; times are RFC 3339."""

    status: Literal["queued", "running", "succeeded", "failed", "canceled"]
    batch_id: str
    tag: str
    model: str
    error_code: str
    created_after: str
    created_before: str


def job_body(prompt: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the body of a job: what belongs beside the input, and the input.

    Raises InvalidInput for an input that is no object.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    more = chosen.pop("input", {})
    if not isinstance(more, Mapping):
        raise InvalidInput.of([Fault("/input", "must be an object")])
    chosen.pop("idempotency_key", None)
    body = {name: chosen.pop(name) for name in sorted(_ENVELOPE & chosen.keys())}
    return {**body, "input": {"prompt": prompt, **chosen, **more}}


def batch_body(
    jobs: Sequence[str | Mapping[str, Any]] | None,
    prompt: str | None,
    variations: int | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the body of a batch; raises ValueError unless it is jobs, or a prompt with variations.

    Each of `jobs` is a prompt, or a mapping with `prompt` and what else JobOptions has, or one with
    `input` as the API writes it.
    """
    if jobs is not None and prompt is None and variations is None:
        return {"jobs": [_entry(job) for job in jobs]}
    if jobs is None and prompt is not None and variations is not None:
        return {**job_body(prompt, options), "variations": variations}
    raise ValueError("A batch is either `jobs`, or a `prompt` with `variations`.")


def _entry(job: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(job, str):
        return job_body(job, {})
    if "prompt" not in job:
        return dict(job)
    rest = {name: value for name, value in job.items() if name != "prompt"}
    return job_body(job["prompt"], rest)


def option_of(name: str) -> str:
    """Give the option of the program that a parameter is set by."""
    return f"--{_OPTIONS.get(name, name).replace('_', '-')}"


def key_header(options: Mapping[str, Any]) -> dict[str, str]:
    """Give the idempotency key: the caller's without blanks around it, or a new one.

    Raises InvalidInput for one that a header cannot carry.
    """
    key = options.get("idempotency_key") or f"py-{uuid4().hex}"
    bare = key.strip() if isinstance(key, str) else ""
    if not _VISIBLE.fullmatch(bare):
        message = "must be 1 to 255 visible ASCII characters"
        raise InvalidInput.of([Fault("/idempotency_key", message)])
    return {"Idempotency-Key": bare}
