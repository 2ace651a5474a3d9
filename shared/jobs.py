"""The states of a job, the transitions between them, and its record. No I/O here.

The Lua functions receive the states from which a transition may start, so the rules exist once, in
`TRANSITIONS`; `docs/architecture.md` draws them, and a test compares both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from shared.errors import ErrorCode


class Status(StrEnum):
    """The status that clients see."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


#: The step of a running attempt.
Step = Literal["claimed", "calling", "fetching"]


class State(StrEnum):
    """The state of a job. The three running states are the steps of one attempt."""

    QUEUED = "queued"
    #: a worker holds the job; the provider has not been called
    CLAIMED = "claimed"
    #: the request is, or may be, at the provider
    CALLING = "calling"
    #: the provider's answer is stored; the image is being downloaded, verified and stored
    FETCHING = "fetching"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_running(self) -> bool:
        """Whether a worker holds the job under a lease."""
        return self in RUNNING

    @property
    def is_final(self) -> bool:
        """Whether the job stays as it is unless a client retries it."""
        return self in FINAL

    @property
    def status(self) -> Status:
        """The status that clients see."""
        return Status.RUNNING if self.is_running else Status(self.value)

    @property
    def step(self) -> Step | None:
        """The step of a running attempt."""
        return _STEPS.get(self)


_STEPS: Mapping[State, Step] = {
    State.CLAIMED: "claimed",
    State.CALLING: "calling",
    State.FETCHING: "fetching",
}
RUNNING = frozenset(_STEPS)
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})


class Transition(NamedTuple):
    """The states from which a transition may start, and the state in which it ends."""

    sources: frozenset[State]
    target: State


TRANSITIONS: Mapping[str, Transition] = {
    "claim": Transition(frozenset({State.QUEUED}), State.CLAIMED),
    # a job whose image is already paid for goes straight to the download
    "resume": Transition(frozenset({State.QUEUED}), State.FETCHING),
    "start_call": Transition(frozenset({State.CLAIMED}), State.CALLING),
    "checkpoint": Transition(frozenset({State.CALLING}), State.FETCHING),
    "succeed": Transition(frozenset({State.FETCHING}), State.SUCCEEDED),
    # another of its models serves it: see `JobSpec.fallback_models`
    "change_model": Transition(frozenset({State.QUEUED}), State.QUEUED),
    "requeue": Transition(RUNNING, State.QUEUED),
    # a stopping worker puts it back into the queue; the attempt does not count
    "release": Transition(RUNNING, State.QUEUED),
    # its worker is lost: the sweep requeues it
    "rescue": Transition(RUNNING, State.QUEUED),
    "fail": Transition(RUNNING, State.FAILED),
    # the deadline, for jobs that are not at the provider
    "expire": Transition(frozenset({State.QUEUED, State.CLAIMED, State.FETCHING}), State.FAILED),
    "cancel": Transition(RUNNING | {State.QUEUED}, State.CANCELED),
    # a client retries the job: its next run
    "rerun": Transition(frozenset({State.FAILED, State.CANCELED}), State.QUEUED),
}


class Priority(StrEnum):
    """How soon a job runs within the tenant's own queue."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


#: Milliseconds added to a job's arrival for its rank, which combines priority and aging. A high job
#: goes before jobs that came up to five minutes earlier, a low one after those of the next half
#: hour.
PRIORITY_OFFSET_MS: Mapping[Priority, int] = {
    Priority.HIGH: -5 * 60_000,
    Priority.NORMAL: 0,
    Priority.LOW: 30 * 60_000,
}


class OnUnknown(StrEnum):
    """What to do when the provider may or may not have generated the image."""

    RETRY = "retry"
    FAIL = "fail"


class WaitingOn(StrEnum):
    """Why a queued job is not running."""

    QUEUE = "queue"
    RETRY = "retry"
    TENANT_LIMIT = "tenant_limit"
    BUDGET = "budget"
    PROVIDER_RATE = "provider_rate"
    #: the model's own `requests_per_minute`
    MODEL_RATE = "model_rate"
    PROVIDER_DOWN = "provider_down"
    PROVIDER_CREDITS = "provider_credits"
    PROVIDER_AUTH = "provider_auth"
    STORAGE = "storage"
    IMAGE_HOST = "image_host"
    PAUSED = "paused"


class EventType(StrEnum):
    """The webhook events of a job."""

    JOB_STARTED = "job.started"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"


class DeliveryState(StrEnum):
    """The state of a delivery."""

    #: in its host's queue, or waiting for its next attempt
    PENDING = "pending"
    SENDING = "sending"
    #: waiting for its endpoint to recover or to be enabled
    PARKED = "parked"
    DELIVERED = "delivered"
    FAILED = "failed"
    #: not sent, because a newer event of the same job was delivered
    SUPERSEDED = "superseded"


#: The retention that has no end, as it is stored.
FOREVER = 0
#: The longest other one: ten years.
RETENTION_SECONDS_MAX = 315_360_000


_WITH_ITS_JOB = "an image is deleted with its job"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a job and its image are kept after its end, in seconds.

    FOREVER for no end, of an image: as long as its job; None for as long as the tenant says, else
    the settings. An image is deleted with its job at the latest.
    """

    image_seconds: int | None = None
    record_seconds: int | None = None

    def image_fault(self, record: str) -> str | None:
        """Return what is wrong with the image's seconds; `record` names the job's.

        An image cannot be kept longer than its job. None if nothing is wrong.
        """
        if not self._is_longer_than_its_job:
            return None
        return f"must be at most `{record}` ({self.record_seconds}): {_WITH_ITS_JOB}"

    def record_fault(self, image: str) -> str | None:
        """Return the same as what is wrong with the job's seconds; `image` names the image's."""
        if not self._is_longer_than_its_job:
            return None
        return f"must be at least `{image}` ({self.image_seconds}): {_WITH_ITS_JOB}"

    @property
    def _is_longer_than_its_job(self) -> bool:
        image, record = self.image_seconds, self.record_seconds
        return bool(image and record and image > record)

    def or_else(self, other: "Retention") -> "Retention":
        """Return this, with what it does not say from another."""
        image, record = self.image_seconds, self.record_seconds
        return Retention(
            image_seconds=other.image_seconds if image is None else image,
            record_seconds=other.record_seconds if record is None else record,
        )


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was requested, as accepted: it never changes, except for `input` with a fallback model.

    `input` holds the parameters of the model that serves the job, with all defaults and the seed.
    `fallback_models` may serve it if `model` is not available. `webhook` is `{"url",
    "events", "headers"?, "payload"?, "form"?}` or None; `form` is the API whose format it uses, if
    not Darkroom's own.
    """

    model: str
    input: Mapping[str, Any]
    webhook: Mapping[str, Any] | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    reuse: bool = False
    retention: Retention = Retention()
    fallback_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderResult:
    """The provider's answer: stored before the download, so that nothing is paid for twice.

    `url` is the provider's `temporaryUrl` (a bearer secret, never logged in full); `object_name` is
    the name of the stored image without extension; `warnings` say how the provider's record differs
    from the request.
    """

    record_id: str | None
    url: str
    object_name: str = ""
    warnings: tuple[str, ...] = ()


#: How an image can differ from the request: by the provider's record, then in itself.
IMAGE_WARNINGS = ("prompt", "seed", "model", "record", "size", "ratio", "format", "flat")
#: With one of these, it may be the image of another request.
DOUBTFUL = frozenset({"prompt", "seed", "model"})


@dataclass(frozen=True, slots=True)
class Image:
    """A stored image. `bytes` is the size of the object, `sha256` is hexadecimal.

    `warnings` are of `IMAGE_WARNINGS`.
    """

    key: str
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateChange:
    """An entry of a job's history. `version` is its id, `at` is in milliseconds since 1970."""

    version: int
    at: int
    state: State
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptError:
    """How an attempt failed. `at` is in milliseconds since 1970.

    `outcome`: `retry`, `held` (requeued, costs no attempt), `failed`, `lost` (its worker
    was lost). `excerpt` is the response, cut, or our own description.
    """

    run: int
    attempt: int
    at: int
    outcome: str
    code: ErrorCode | None = None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored. Times ending in `_at` are milliseconds since 1970, Redis time.

    `timings` holds seconds by step. `fence` increases with each claim: a write with an older one is
    refused. `due_at` is set while the job waits for its next attempt, because of `last_error_code`.
    `pending_record` names the provider's record of an unsettled call; `call_key` is the id of the
    provider key of the last call, whose team owns the record. `enqueued_at` is when its current run
    was requested, if that is not its first; `spare_calls_used` counts the unknown outcomes and
    regenerations of earlier runs. `trace` is a W3C traceparent, if the request for the job was part
    of a trace.
    """

    id: str
    tenant: str
    spec: JobSpec
    state: State
    version: int
    run: int
    attempt: int
    max_attempts: int
    priority: Priority
    fence: int
    calls: int
    unknown_outcomes: int
    regenerated: int
    worker_losses: int
    created_at: int
    deadline_at: int
    started_at: int | None = None
    finished_at: int | None = None
    expires_at: int | None = None
    image_expires_at: int | None = None
    image_deleted_at: int | None = None
    due_at: int | None = None
    claimed_at: int | None = None
    batch_id: str | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None
    error_retryable: bool = False
    enqueued_at: int | None = None
    spare_calls_used: int = 0
    last_error_code: ErrorCode | None = None
    #: the latest failures, oldest first
    attempt_errors: tuple[AttemptError, ...] = ()
    reused_from: str | None = None
    record_id: str | None = None
    pending_record: str | None = None
    call_key: str = ""
    answer: ProviderResult | None = None
    image: Image | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    history: tuple[StateChange, ...] = ()
    trace: str | None = None
    #: it was archived without its prompt, which `spec.input` lacks
    is_prompt_withheld: bool = False
    #: the fallback model that serves it; None: the requested one does
    fallback: str | None = None

    @property
    def model(self) -> str:
        """The model that serves the job: it may still change while the job is queued."""
        return self.fallback or self.spec.model

    @property
    def served_model(self) -> str | None:
        """The model that makes or made the image; None while that may change."""
        is_bound = self.answer is not None or self.pending_record is not None
        was_called = self.state.is_final and self.calls > 0
        is_known = self.state.is_running or self.image is not None or is_bound or was_called
        return self.model if is_known else None
