"""The options of a batch, besides its jobs, as pydantic models."""

from typing import Annotated, Any

from pydantic import Field, RootModel, field_validator

from api.jobs.schemas import (
    DEADLINE_SECONDS_MAX,
    PAIRS_MAX,
    TAGS_MAX,
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

    events: Annotated[tuple[BatchEvent, ...], Field(description="What to tell of")] = tuple(
        BatchEvent
    )

    @field_validator("events")
    @classmethod
    def _events(cls, value: tuple[BatchEvent, ...]) -> tuple[BatchEvent, ...]:
        if not value:
            raise ValueError("names no event")
        return distinct(value)


class BatchOptions(Strict):
    """Options of the batch as a whole."""

    webhook: Annotated[
        BatchWebhook | None, Field(description="Told once, when every job is final")
    ] = None
    priority: Annotated[Priority, Field(description="Of each job that names none")] = Priority.LOW
    deadline_seconds: Annotated[
        int | None,
        Field(ge=1, le=DEADLINE_SECONDS_MAX, description="Of each job that names none"),
        INTEGER,
    ] = None
    retention: Annotated[
        RetentionBody,
        Field(description="How long each job that does not say so itself, and its image, are kept"),
    ] = RetentionBody()
    metadata: dict[PairName, PairValue] = Field(
        default_factory=dict, max_length=PAIRS_MAX, description="Yours, shown on the batch"
    )
    tags: Annotated[
        tuple[Tag, ...],
        Field(max_length=TAGS_MAX, description="Yours, on each job before its own"),
    ] = ()

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(value)


class VariationsBody(BatchOptions):
    """Requests one input several times, each with its own seed."""

    model: ModelName = DEFAULT_MODEL
    input: Annotated[dict[str, Any], Field(description="The model's parameters")]
    variations: Annotated[
        int,
        Field(ge=1, le=JOBS_MAX, description="How many; a `seed` is that of the first, then + 1"),
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
            description="`fail_fast`, `dry_run` and `reuse` are for a single job only",
        ),
    ]


# the body is parsed incrementally; this model describes it
class BatchBody(RootModel[JobsBody | VariationsBody]):
    """Creates a batch."""
