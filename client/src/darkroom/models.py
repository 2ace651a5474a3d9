"""Responses as values. Fields of newer services stay available in `raw`.

Times are aware datetimes in UTC, durations are seconds, sizes are bytes. Missing fields are None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar

I_co = TypeVar("I_co", bound="ImageFacts", covariant=True)
V = TypeVar("V")

Status = Literal["queued", "running", "succeeded", "failed", "canceled"]
FINAL = frozenset({"succeeded", "failed", "canceled"})
Raw = Mapping[str, Any]


def from_json(kind: Callable[..., V], raw: Raw, **more: Any) -> V:  # noqa: ANN401  JSON
    """Build a value from its known fields; times are parsed, everything stays in `raw`."""
    names = (one.name for one in fields(kind))  # type: ignore[arg-type]  # all are dataclasses
    known = {name: _read(name, raw.get(name)) for name in names}
    return kind(**{**known, **more, "raw": raw})


def _read(name: str, value: Any) -> Any:  # noqa: ANN401  JSON
    is_time = isinstance(value, str) and (name.endswith("_at") or name == "at")
    return datetime.fromisoformat(value) if is_time else value


@dataclass(frozen=True)
class ImageFacts:
    """A stored image. `url` needs no key and works while the image is kept.

    `preview_url` is that of a small WebP.

    `warnings` names differences from the request: size, ratio, format, flat; by the provider's
    record prompt, seed, model; `record` if that record is inconsistent.
    """

    job_id: str
    seed: int | None
    url: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    warnings: list[str]
    preview_url: str
    raw: Raw = field(repr=False)

    @property
    def extension(self) -> str:
        """The extension that fits the bytes, with its dot."""
        subtype = self.content_type.partition("/")[2]
        return {"jpeg": ".jpg"}.get(subtype, f".{subtype}")


@dataclass(frozen=True)
class JobError:
    """Why a job failed; the API reference lists the codes."""

    code: str
    message: str
    retryable: bool
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class Job(Generic[I_co]):
    """A job; the API reference describes the fields."""

    id: str
    status: Status
    step: str | None
    model: str
    fallback_models: list[str]
    served_model: str | None
    input: Mapping[str, Any]
    prompt_withheld: bool
    image: I_co | None
    error: JobError | None
    version: int
    run: int
    attempt: int
    max_attempts: int
    priority: str
    waiting_on: str | None
    position: int | None
    eta_seconds: float | None
    batch_id: str | None
    reused_from: str | None
    metadata: Mapping[str, str]
    tags: list[str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime
    expires_at: datetime | None
    timings: Mapping[str, float | None]
    raw: Raw = field(repr=False)

    @property
    def is_final(self) -> bool:
        """Whether it stays as it is unless it is retried."""
        return self.status in FINAL


def job_of(raw: Raw, bind: Callable[[ImageFacts], I_co]) -> Job[I_co]:
    """Parse a job; `bind` makes its image downloadable."""
    image, error = raw.get("image"), raw.get("error")
    job: Job[I_co] = from_json(
        Job,
        raw,
        image=bind(_image(raw, image)) if image else None,
        error=from_json(JobError, error) if error else None,
    )
    return job


def _image(job: Raw, raw: Raw) -> ImageFacts:
    seed = (job.get("input") or {}).get("seed")
    size = raw.get("bytes")
    return from_json(ImageFacts, raw, job_id=job["id"], seed=seed, size_bytes=size)


@dataclass(frozen=True)
class Batch:
    """A batch of jobs. `progress` goes from 0 to 1; `counts` by status."""

    id: str
    status: str
    total: int
    counts: Mapping[str, int]
    progress: float
    eta_seconds: float | None
    priority: str
    metadata: Mapping[str, str]
    tags: list[str]
    created_at: datetime
    started_at: datetime | None
    canceled_at: datetime | None
    completed_at: datetime | None
    raw: Raw = field(repr=False)

    @property
    def is_final(self) -> bool:
        """Whether every job of it is final."""
        return self.completed_at is not None or sum(self.counts.values()) == sum(
            self.counts.get(status, 0) for status in FINAL
        )


@dataclass(frozen=True)
class Model:
    """A model: the JSON Schema of its input, and its defaults.

    `source` is `specified` if the provider has a document of its request and reply, `documented`
    if the provider's pages name the parameters.
    """

    id: str
    name: str
    description: str
    source: str
    state: str
    input_schema: Mapping[str, Any]
    defaults: Mapping[str, Any]
    fallbacks: list[str]
    price: Mapping[str, Any] | None
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class Usage:
    """Your limits, what is used and left of them, and credits by day (an estimate).

    `budgets` has each budget of the tenant and of the API key, for the present day or month.
    """

    limits: Mapping[str, Any]
    used: Mapping[str, Any]
    left: Mapping[str, Any]
    estimated: bool
    budgets: list[Mapping[str, Any]]
    days: list[Mapping[str, Any]]
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class UsageReport:
    """Usage of some days (UTC), both included; the rows of `data` add up to `total`.

    A row has what the report is grouped by, and as `total` jobs, calls and credits (an estimate).
    """

    first: date
    last: date
    group_by: list[str]
    data: list[Mapping[str, Any]]
    total: Mapping[str, Any]
    estimated: bool
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class Event:
    """A change in the feed; `cursor` continues after it."""

    type: str
    cursor: str
    at: datetime
    job_id: str | None
    version: int | None
    status: str | None
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class Delivery:
    """A webhook delivery; `attempts` only if it is read by its id."""

    id: str
    type: str
    status: str
    job_id: str | None
    batch_id: str | None
    url: str
    attempt: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    last_attempt: Mapping[str, Any] | None
    attempts: list[Mapping[str, Any]] | None
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class Endpoint:
    """A URL that deliveries are sent to, and its state.

    `events` are those of all jobs that it gets as a standing endpoint; without any, `url` has no
    query. `pending` counts deliveries to be sent, `parked` those that wait until it is enabled;
    `failures` consecutive ones.
    """

    id: str
    url: str
    events: list[str]
    description: str
    payload: str
    enabled: bool
    status: str
    created_at: datetime
    pending: int
    parked: int
    failures: int
    failing_since: datetime | None
    next_probe_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    has_own_secret: bool
    secret_rotated_at: datetime | None
    raw: Raw = field(repr=False)


@dataclass(frozen=True)
class Queue:
    """The state of a queue, for operators; `blocked_by` is why nothing new starts."""

    name: str
    depth: int
    oldest_age_seconds: float
    in_flight: int
    paused: bool
    paused_at: datetime | None
    blocked_by: str | None
    raw: Raw = field(repr=False)
