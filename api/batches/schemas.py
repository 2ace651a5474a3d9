"""The options of a batch, besides its jobs, as pydantic models."""

from typing import Annotated, Any

from pydantic import Field, RootModel, field_validator

from api.jobs.schemas import (
    DEADLINE_SECONDS_MAX,
    PAIRS_MAX,
    TAGS_MAX,
    FallbackModels,
    JobBody,
    ModelName,
    PairName,
    PairValue,
    RetentionBody,
    Strict,
    Tag,
    WebhookTarget,
    distinct,
)
from shared.batches import JOBS_MAX, BatchEvent
from shared.jobs import OnUnknown, Priority
from shared.model_catalog import DEFAULT_MODEL, INTEGER


class BatchWebhook(WebhookTarget):
    """The webhook for the end of the batch. The end of a job is sent to the job's own webhook."""

    events: Annotated[tuple[BatchEvent, ...], Field(description="Events to send")] = tuple(
        BatchEvent
    )

    @field_validator("events")
    @classmethod
    def _events(cls, value: tuple[BatchEvent, ...]) -> tuple[BatchEvent, ...]:
        if not value:
            raise ValueError("must have at least one event")
        return distinct(value)


class BatchOptions(Strict):
    """Options of the batch as a whole."""

    webhook: Annotated[
        BatchWebhook | None, Field(description="Sent once, when every job of the batch is final")
    ] = None
    priority: Annotated[
        Priority, Field(description="The priority of jobs that have none of their own")
    ] = Priority.LOW
    deadline_seconds: Annotated[
        int | None,
        Field(
            ge=1,
            le=DEADLINE_SECONDS_MAX,
            description="The deadline of jobs that have none of their own",
        ),
        INTEGER,
    ] = None
    retention: Annotated[
        RetentionBody,
        Field(description="The retention of jobs that have none of their own"),
    ] = RetentionBody()
    metadata: dict[PairName, PairValue] = Field(
        default_factory=dict, max_length=PAIRS_MAX, description="Your data, returned with the batch"
    )
    tags: Annotated[
        tuple[Tag, ...],
        Field(max_length=TAGS_MAX, description="Tags of every job, before the job's own tags"),
    ] = ()

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(value)


class VariationsBody(BatchOptions):
    """Requests one input several times, each with its own seed."""

    model: ModelName = DEFAULT_MODEL
    fallback_models: FallbackModels = ()
    input: Annotated[dict[str, Any], Field(description="The model's parameters")]
    variations: Annotated[
        int,
        Field(
            ge=1,
            le=JOBS_MAX,
            description="Number of images; the first has the given `seed`, that of each further "
            "one is 1 higher",
        ),
        INTEGER,
    ]
    on_unknown: Annotated[OnUnknown | None, Field(description="As in a job")] = None


class FirstLine(Strict):
    """The optional first line of an NDJSON body, with options of the batch."""

    batch: BatchOptions


class JobsBody(BatchOptions):
    """Requests many jobs, with options for all of them."""

    jobs: Annotated[
        list[JobBody],
        Field(
            min_length=1,
            max_length=JOBS_MAX,
            description="As for `POST /v1/jobs`, without `fail_fast`, `dry_run` and `reuse`",
        ),
    ]


# the body is parsed incrementally; this model describes it
class BatchBody(RootModel[JobsBody | VariationsBody]):
    """Creates a batch."""
