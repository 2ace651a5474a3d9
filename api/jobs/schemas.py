"""The body of `POST /v1/jobs` as pydantic models: strict, and without unknown members."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic import Tag as UnionTag

from api.jobs.validation_errors import LIST_BRANCH, WORD_BRANCH
from api.problems import FieldError
from api.query import (
    METADATA_NAME_CHARACTERS,
    METADATA_VALUE_CHARACTERS,
    WANTED_PAIRS_MAX,
    milliseconds,
    query_words,
)
from api.webhooks.url_validation import address_guard, check_headers, check_url
from shared.errors import ErrorCode
from shared.jobs import (
    FOREVER,
    RETENTION_SECONDS_MAX,
    EventType,
    OnUnknown,
    Priority,
    Retention,
    Status,
)
from shared.model_catalog import DEFAULT_MODEL, FALLBACKS_MAX, INTEGER, SEED_MAX
from shared.store.job_queries import Filter
from shared.words import words

DEADLINE_SECONDS_MAX = 30 * 86_400
#: The largest value of either `fail_fast` limit.
WAIT_MOST = 10**9
PAIRS_MAX = 50
TAGS_MAX = 10
#: The default events of a webhook: the end of the job.
DEFAULT_EVENTS = (EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED)

#: Text without control characters: tags appear in URLs and terminals.
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
PairName = Annotated[str, StringConstraints(min_length=1, max_length=METADATA_NAME_CHARACTERS)]
PairValue = Annotated[str, StringConstraints(max_length=METADATA_VALUE_CHARACTERS)]


def _check_moment(value: str) -> str:
    milliseconds(value)
    return value


def _offered(value: str, info: ValidationInfo) -> str:
    """Check a model against the settings in the context; without them, accept any."""
    models = info.context.models if info.context else {value: None}
    if value not in models:
        raise ValueError(f"is not available; available models: {', '.join(models)}")
    return value


def distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a list without duplicates; raise ValueError if it has any."""
    if len(set(value)) < len(value):
        raise ValueError("must not have duplicates")
    return value


Moment = Annotated[
    str, AfterValidator(_check_moment), Field(description="A time such as 2026-01-31T12:00:00Z")
]
ModelName = Annotated[str, AfterValidator(_offered), Field(description="One of `GET /v1/models`")]
_Models = Annotated[
    tuple[ModelName, ...],
    Field(max_length=FALLBACKS_MAX),
    AfterValidator(distinct),
    UnionTag(LIST_BRANCH),
]
_Default = Annotated[Literal["default"], UnionTag(WORD_BRANCH)]
FallbackModels = Annotated[
    _Models | _Default,
    Discriminator(lambda value: WORD_BRANCH if isinstance(value, str) else LIST_BRANCH),
    Field(
        description="Models that may serve the job, in order, while `model` is removed, paused, or "
        "has failed for a time (`DARKROOM_FALLBACK_AFTER_SECONDS`); `default`: the `fallbacks` of "
        "`GET /v1/models`. `input` must fit each of them"
    ),
]


class Strict(BaseModel):
    """No conversions, and no unknown members."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Confirmed(Strict):
    """Changes everything that matches: counted first, then confirmed."""

    dry_run: Annotated[bool, Field(description="Only count what matches")] = False
    expected_count: Annotated[
        int | None,
        Field(ge=0, description="What was counted: if more match, nothing is changed"),
        INTEGER,
    ] = None

    def faults(self) -> list[FieldError]:
        """Return what is wrong with the members together."""
        if not self.dry_run and self.expected_count is None:
            return [FieldError("/expected_count", "is required: count with `dry_run` first")]
        if self.dry_run and self.expected_count is not None:
            return [FieldError("/expected_count", "cannot be combined with `dry_run`")]
        return []


def moment_of(value: str | None) -> int | None:
    """Return a time of a body in milliseconds since 1970."""
    return milliseconds(value) if value else None


FilterText = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class JobFilterBody(Strict):
    """Which jobs: all that match every given member."""

    status: Status | None = None
    error_code: ErrorCode | None = None
    batch_id: FilterText | None = None
    tag: FilterText | None = None
    model: FilterText | None = None
    served_model: FilterText | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    metadata: Annotated[
        dict[PairName, PairValue] | None,
        Field(min_length=1, max_length=WANTED_PAIRS_MAX, description="With all these pairs"),
    ] = None
    seed: Annotated[int | None, Field(ge=0, le=SEED_MAX), INTEGER] = None
    q: Annotated[
        Annotated[str, AfterValidator(query_words)] | None,
        Field(description="With all these words in the prompt, in any order and case"),
    ] = None

    def filter(self) -> Filter:
        """Return the filter for the store."""
        return Filter(
            status=self.status,
            batch_id=self.batch_id,
            tag=self.tag,
            model=self.model,
            served_model=self.served_model,
            error_code=self.error_code,
            created_after=moment_of(self.created_after),
            created_before=moment_of(self.created_before),
            metadata=self.metadata or {},
            seed=self.seed,
            words=words(self.q or ""),
        )


class WebhookHeaders(Strict):
    """What to send with each attempt of a webhook."""

    headers: Annotated[
        dict[str, str],
        Field(max_length=20, description="Headers sent with each attempt; never returned"),
    ] = {}

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        return check_headers(value)


class WebhookOptions(WebhookHeaders):
    """How to send a webhook."""

    payload: Annotated[
        Literal["full", "slim"],
        Field(
            description="full: the whole job or batch. slim: `id`, `status` and `metadata`, with "
            "`version` and `run` of a job or `counts` of a batch"
        ),
    ] = "full"


class WebhookUrl(Strict):
    """Where to send a webhook."""

    url: Annotated[str, Field(description="http or https, at most 2,048 characters")]

    @field_validator("url")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        """Validate the URL; the context are the settings."""
        return check_url(value, guard=address_guard(info.context))


class WebhookTarget(WebhookOptions, WebhookUrl):
    """Where and how to send a webhook."""


class Webhook(WebhookTarget):
    """The webhook of a job."""

    events: Annotated[tuple[EventType, ...], Field(description="Events to send")] = DEFAULT_EVENTS

    @field_validator("events")
    @classmethod
    def _events(cls, value: tuple[EventType, ...]) -> tuple[EventType, ...]:
        if not value:
            raise ValueError("must have at least one event")
        return distinct(value)


class FailFast(Strict):
    """Conditions under which not to queue at all."""

    max_position: Annotated[
        int | None,
        Field(ge=0, le=WAIT_MOST, description="Maximum number of your jobs ahead of it"),
        INTEGER,
    ] = None
    max_wait_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            le=WAIT_MOST,
            allow_inf_nan=False,
            description="Maximum estimated wait in the queue",
        ),
    ] = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.max_position is None and self.max_wait_seconds is None:
            raise ValueError("must name max_position, max_wait_seconds or both")
        return self


_Seconds = Annotated[int | None, Field(ge=1, le=RETENTION_SECONDS_MAX), INTEGER]


class RetentionBody(Strict):
    """How long a job and its image are kept after its end."""

    record_seconds: Annotated[
        _Seconds,
        Field(
            description="Seconds after its end at which the job is deleted with its image; null: "
            "never; absent: the retention of its batch, its tenant or the service, in this order"
        ),
    ] = None
    # after the one that it is compared with
    image_seconds: Annotated[
        _Seconds,
        Field(
            description="Seconds after the job's end at which the image is deleted, at most "
            "`record_seconds`; null: with the job; absent: as for `record_seconds`"
        ),
    ] = None

    @field_validator("image_seconds")
    @classmethod
    def _fits(cls, value: int | None, info: ValidationInfo) -> int | None:
        kept = Retention(value, info.data.get("record_seconds"))
        if fault := kept.image_fault("record_seconds"):
            raise ValueError(fault)
        return value

    @property
    def stored(self) -> Retention:
        """The stored form, in which null and absent differ."""
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        return Retention(**{name: FOREVER if one is None else one for name, one in sent.items()})


class JobBody(Strict):
    """Requests one image."""

    model: ModelName = DEFAULT_MODEL
    fallback_models: FallbackModels = ()
    input: Annotated[dict[str, Any], Field(description="The model's parameters")]
    webhook: Webhook | None = None
    priority: Annotated[
        Priority, Field(description="Order among the tenant's own jobs; no effect on other tenants")
    ] = Priority.NORMAL
    deadline_seconds: Annotated[
        int | None,
        Field(
            ge=1, le=DEADLINE_SECONDS_MAX, description="Seconds after which an unfinished job fails"
        ),
        INTEGER,
    ] = None
    on_unknown: Annotated[
        OnUnknown | None,
        Field(
            description="If a provider call may or may not have generated and billed the image: "
            "`retry` makes one more call, `fail` ends the job; default: the service's setting"
        ),
    ] = None
    reuse: Annotated[
        bool,
        Field(
            description="If an identical request has a stored image, use it, free of charge; "
            "requires `input.seed`"
        ),
    ] = False
    fail_fast: Annotated[
        FailFast | None, Field(description="Refuse the job if it would wait longer than this")
    ] = None
    dry_run: Annotated[
        bool, Field(description="Return an estimate of cost and start; create no job")
    ] = False
    retention: Annotated[
        RetentionBody, Field(description="How long the job and its image are kept after its end")
    ] = RetentionBody()
    metadata: Annotated[
        dict[PairName, PairValue],
        Field(max_length=PAIRS_MAX, description="Your own data, returned with the job"),
    ] = {}
    tags: Annotated[
        tuple[Tag, ...], Field(max_length=TAGS_MAX, description="Your own labels, for filtering")
    ] = ()

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(value)
