"""The life of a job: its states, the moves between them, and its record. No I/O here.

The scripts in `shared/lua` are told from which states a move may start, so the rules stand once,
in `TRANSITIONS`; `docs/architecture.md` draws them and a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from shared.errors import ErrorCode


class Status(StrEnum):
    """What a client sees."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


#: Where in the attempt a running job is.
Step = Literal["claimed", "calling", "fetching"]


class State(StrEnum):
    """Where a job is. The three running states are the steps of one attempt."""

    QUEUED = "queued"
    #: a worker holds it; the provider has not been asked
    CLAIMED = "claimed"
    #: the request is, or may be, at the provider
    CALLING = "calling"
    #: the provider's answer is kept; the image is fetched, verified and stored
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
        """Whether the job stays as it is unless somebody asks for it again."""
        return self in FINAL

    @property
    def status(self) -> Status:
        """The word the client sees."""
        return Status.RUNNING if self.is_running else Status(self.value)

    @property
    def step(self) -> Step | None:
        """Where in the attempt a running job is."""
        return _STEPS.get(self)


_STEPS: Mapping[State, Step] = {
    State.CLAIMED: "claimed",
    State.CALLING: "calling",
    State.FETCHING: "fetching",
}
RUNNING = frozenset(_STEPS)
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})


class Transition(NamedTuple):
    """From which states a move may start, and where it ends."""

    sources: frozenset[State]
    target: State


TRANSITIONS: Mapping[str, Transition] = {
    "claim": Transition(frozenset({State.QUEUED}), State.CLAIMED),
    # a job whose image is bought already goes straight on to fetching it
    "resume": Transition(frozenset({State.QUEUED}), State.FETCHING),
    "start_call": Transition(frozenset({State.CLAIMED}), State.CALLING),
    "checkpoint": Transition(frozenset({State.CALLING}), State.FETCHING),
    "succeed": Transition(frozenset({State.FETCHING}), State.SUCCEEDED),
    "requeue": Transition(RUNNING, State.QUEUED),
    # given back untouched, with its attempt: a shutdown
    "release": Transition(RUNNING, State.QUEUED),
    # its worker is gone: the sweep gives it to another
    "rescue": Transition(RUNNING, State.QUEUED),
    "fail": Transition(RUNNING, State.FAILED),
    # the deadline, for what is not at the provider
    "expire": Transition(frozenset({State.QUEUED, State.CLAIMED, State.FETCHING}), State.FAILED),
    "cancel": Transition(RUNNING | {State.QUEUED}, State.CANCELED),
    # somebody asks for the same job once more: its next run
    "rerun": Transition(frozenset({State.FAILED, State.CANCELED}), State.QUEUED),
}


class Priority(StrEnum):
    """How soon within the tenant's own queue."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


#: Milliseconds added to a job's arrival to make its rank: priority and aging in one number. A high
#: job goes before what came up to five minutes earlier, a low one lets half an hour of others pass.
PRIORITY_OFFSET_MS: Mapping[Priority, int] = {
    Priority.HIGH: -5 * 60_000,
    Priority.NORMAL: 0,
    Priority.LOW: 30 * 60_000,
}


class OnUnknown(StrEnum):
    """What to do when the provider may or may not have made the image."""

    RETRY = "retry"
    FAIL = "fail"


class WaitingOn(StrEnum):
    """Why a queued job is not running."""

    QUEUE = "queue"
    RETRY = "retry"
    TENANT_LIMIT = "tenant_limit"
    PROVIDER_RATE = "provider_rate"
    PROVIDER_DOWN = "provider_down"
    PROVIDER_CREDITS = "provider_credits"
    PROVIDER_AUTH = "provider_auth"
    STORAGE = "storage"
    IMAGE_HOST = "image_host"
    PAUSED = "paused"


class EventType(StrEnum):
    """What a webhook can tell."""

    JOB_STARTED = "job.started"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"


class DeliveryState(StrEnum):
    """Where a webhook is."""

    #: in its host's line, or waiting for its next attempt
    PENDING = "pending"
    SENDING = "sending"
    #: waiting for its endpoint to be well, or to be switched on
    PARKED = "parked"
    DELIVERED = "delivered"
    FAILED = "failed"
    #: not sent: the receiver has something newer of the same job
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked for, as accepted: it never changes.

    `input` has the model's parameters with every default filled in and the seed pinned. `webhook`
    is `{"url", "events", "headers"?, "payload"?, "form"?}` or None; `form` is the dialect it tells
    in, if not Darkroom's own.
    """

    model: str
    input: Mapping[str, Any]
    webhook: Mapping[str, Any] | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    reuse: bool = False


@dataclass(frozen=True, slots=True)
class ProviderResult:
    """What the provider sold us: kept before anything is fetched, so that nothing is paid twice.

    `url` is the provider's `temporaryUrl` (a bearer secret, never logged whole); `object_name` is
    where the image goes, without its extension; `warnings` say where the provider's record
    differs from what was asked for.
    """

    record_id: str | None
    url: str
    object_name: str = ""
    warnings: tuple[str, ...] = ()


#: How an image can differ from what was asked for: by the provider's record, then in itself.
IMAGE_WARNINGS = ("prompt", "seed", "model", "record", "size", "ratio", "format", "flat")
#: With one of these, it may be the image of another request.
DOUBTFUL = frozenset({"prompt", "seed", "model"})


@dataclass(frozen=True, slots=True)
class Image:
    """A stored image. `bytes` counts the object, `sha256` is in hexadecimal.

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
    """One line of a job's history. `version` is its id, `at` is in milliseconds since 1970."""

    version: int
    at: int
    state: State
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptError:
    """How one attempt went wrong. `at` is in milliseconds since 1970.

    `outcome`: `retry`, `held` (given back: the gate does the waiting), `failed`, `lost` (its worker
    is gone). `said` is what was answered to us, cut, or what we made of it.
    """

    run: int
    attempt: int
    at: int
    outcome: str
    code: ErrorCode | None = None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the store keeps it. Times ending in `_at` are milliseconds since 1970, Redis time.

    `timings` holds seconds by step. `fence` rises with each claim: a write that carries an older
    one is refused. `due_at` is set while the job waits for its next attempt, because of
    `last_error_code`. `pending_record` names the provider's record of a call that is not settled
    yet; `call_key` is the id of the provider key that made the last call, whose team the record
    belongs to. `enqueued_at` is when its present run was requested, if that is not its first;
    `spare_calls_used` counts the unknown outcomes and regenerations of earlier runs. `trace` is a
    W3C traceparent, where the request for the job was part of a trace.
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
    due_at: int | None = None
    claimed_at: int | None = None
    batch_id: str | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None
    error_retryable: bool = False
    enqueued_at: int | None = None
    spare_calls_used: int = 0
    last_error_code: ErrorCode | None = None
    #: the newest of what went wrong, oldest first
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
