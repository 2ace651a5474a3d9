"""The shapes of all JSON of the API and of webhooks.

mypy checks them where they are built, FastAPI describes them in the OpenAPI document. Times are RFC
3339 in UTC, durations are seconds.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field

# pydantic accepts no other before Python 3.12
from typing_extensions import TypedDict

from shared.batches import BatchStatus
from shared.errors import ErrorCode
from shared.jobs import IMAGE_WARNINGS, Priority, Status, Step, WaitingOn

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]
Count = Annotated[int, Field(ge=0)]
#: A JSON object whose members differ by model or case.
Object = dict[str, Any]


class JobImage(TypedDict):
    """The image and its URL."""

    url: Url
    preview_url: Annotated[Url, Field(description="A small WebP, made on the first request")]
    key: str
    content_type: str
    width: Count
    height: Count
    bytes: Count
    sha256: str
    warnings: list[Annotated[str, Field(json_schema_extra={"enum": list(IMAGE_WARNINGS)})]]
    expires_at: Annotated[Time | None, Field(description="When it is deleted; null: never")]
    deleted_at: Annotated[
        Time | None, Field(description="When it was deleted; its job is kept, its URL answers 410")
    ]


class JobError(TypedDict):
    """Why a job failed."""

    code: ErrorCode
    message: str
    retryable: bool


class WebhookTarget(TypedDict):
    """The webhook of a job; its headers are not returned."""

    url: Url
    events: list[str]


class Timings(TypedDict):
    """Seconds by step."""

    wait: float | None
    provider: float | None
    download: float | None
    store: float | None
    total: float | None


class ProviderCalls(TypedDict):
    """The provider calls of a job."""

    record_id: str | None
    calls: Count
    unknown_outcomes: Count
    regenerated: Count


class Job(TypedDict):
    """A job."""

    id: str
    status: Status
    step: Step | None
    model: Annotated[str, Field(description="The requested model")]
    fallback_models: Annotated[
        list[str], Field(description="Models that may serve it instead, in order")
    ]
    served_model: Annotated[
        str | None,
        Field(
            description="The model that makes or made the image; null while it may still change. "
            "Price, usage and `input` are those of this model"
        ),
    ]
    input: Annotated[
        Object,
        Field(
            description="Every parameter, defaults and the seed included; without `prompt` if "
            "`prompt_withheld`"
        ),
    ]
    prompt_withheld: Annotated[
        bool,
        Field(
            description="Whether it was archived without its prompt, as its tenant is configured: "
            "it cannot be retried or reproduced"
        ),
    ]
    image: JobImage | None
    version: Annotated[Count, Field(description="Rises with every change")]
    run: Count
    reused_from: str | None
    error: JobError | None
    attempt: Count
    max_attempts: Count
    priority: Priority
    waiting_on: Annotated[WaitingOn | None, Field(description="Why it is not running")]
    position: Annotated[
        Count | None,
        Field(
            description="How many of your jobs are ahead of it; null while it waits for its next "
            "attempt, or if it comes before all queues"
        ),
    ]
    eta_seconds: Annotated[
        float | None,
        Field(description="Estimated seconds until the job starts; null if unknown"),
    ]
    batch_id: str | None
    metadata: Mapping[str, str]
    tags: list[str]
    webhook: WebhookTarget | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    deadline_at: Time
    expires_at: Time | None
    timings: Timings
    provider: ProviderCalls


class JobPage(TypedDict):
    """A page of jobs."""

    data: list[Job]
    next_cursor: str | None


class StatusCounts(TypedDict):
    """Jobs by status."""

    queued: Count
    running: Count
    succeeded: Count
    failed: Count
    canceled: Count


class Batch(TypedDict):
    """A batch."""

    id: str
    status: BatchStatus
    total: Count
    counts: StatusCounts
    progress: Annotated[float, Field(description="Share of its jobs that are final, 0 to 1")]
    eta_seconds: Annotated[
        float | None,
        Field(
            description="Estimated seconds until all jobs are final; null before the first one is",
        ),
    ]
    priority: Priority
    metadata: Mapping[str, str]
    tags: list[str]
    webhook: WebhookTarget | None
    created_at: Time
    started_at: Time | None
    canceled_at: Time | None
    completed_at: Time | None


class BatchPage(TypedDict):
    """A page of batches."""

    data: list[Batch]
    next_cursor: str | None


class WebhookPayload(TypedDict):
    """The body of a webhook (Standard Webhooks); `data` is the job or batch as of the event."""

    type: str
    timestamp: Time
    data: Mapping[str, Any]


class PredictionUrls(TypedDict):
    """The URLs to read and cancel a prediction."""

    get: str
    cancel: str


PredictionStatus = Literal["starting", "processing", "succeeded", "failed", "canceled"]


class Prediction(TypedDict):
    """A job in Replicate's form."""

    id: str
    model: str
    version: str
    status: PredictionStatus
    input: Object
    output: list[str] | None
    logs: NotRequired[str]
    error: str | None
    source: NotRequired[str]
    data_removed: NotRequired[bool]
    created_at: Time
    started_at: NotRequired[Time | None]
    completed_at: NotRequired[Time | None]
    metrics: NotRequired[Mapping[str, float]]
    urls: PredictionUrls
