"""The bodies of operator requests, validated as strictly as those of jobs."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator

from api.jobs.schemas import Confirmed, FilterText, JobFilterBody, ModelName, Moment, Strict
from api.problems import FieldError
from shared import setting_values
from shared.api_keys import OPS_SCOPES, TENANT_SCOPES, Scope
from shared.ids import ALPHABET, JOB_PREFIX
from shared.jobs import FOREVER, RETENTION_SECONDS_MAX, Retention
from shared.model_catalog import INTEGER
from shared.provider_keys import TEAM, TEAM_RULE
from shared.store.api_keys import GRACE_SECONDS
from shared.store.tenants import NAME, NAME_RULE
from shared.store.tenants import Tenant as StoredTenant

LARGEST = 1_000_000_000
GRACE_SECONDS_MAX = 30 * 86_400

_Count = Annotated[int | None, Field(ge=0, le=LARGEST), INTEGER]
_Seconds = Annotated[int | None, Field(ge=FOREVER, le=RETENTION_SECONDS_MAX), INTEGER]
_Credits = Annotated[float | None, Field(ge=0, le=LARGEST)]
_Label = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
_JobId = Annotated[str, StringConstraints(pattern=f"^{JOB_PREFIX}[{ALPHABET}]{{26}}$")]


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(NAME_RULE)
    return value


TenantName = Annotated[
    str, AfterValidator(_check_name), Field(description="1 to 64 of A-Z a-z 0-9 . _ -")
]


Changes = dict[str, float | str | bool | tuple[str, ...] | None]


def _sent(body: Strict, model: type[Strict]) -> Changes:
    names = [name for name in model.model_fields if name in body.model_fields_set]
    return {name: getattr(body, name) for name in names}


def _check_models(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value == ():
        raise ValueError("must have at least one model; null allows all")
    return value and tuple(dict.fromkeys(value))


_Models = Annotated[
    tuple[ModelName, ...] | None,
    AfterValidator(_check_models),
    Field(description="The only models that may be used; null: all"),
]


class LimitsBody(Strict):
    """The limits of a tenant; null: no limit, or weight 1, or the retention of the settings."""

    weight: Annotated[
        float | None, Field(ge=0.001, le=1_000_000, description="Its share of the slots")
    ] = None
    max_running: Annotated[_Count, Field(description="Jobs running at once")] = None
    max_queued: Annotated[_Count, Field(description="Jobs queued at once")] = None
    requests_per_minute: Annotated[
        _Count, Field(description="Requests per minute that create or retry jobs")
    ] = None
    daily_credits: Annotated[_Credits, Field(description="Estimated credits in a day (UTC)")] = None
    monthly_credits: Annotated[
        _Credits, Field(description="Estimated credits in a calendar month (UTC)")
    ] = None
    budget_action: Annotated[
        Literal["hold", "refuse"] | None,
        Field(
            description="When the credits of a budget are used up: `hold` queued jobs, or `refuse` "
            "new ones; null: `refuse`"
        ),
    ] = None
    models: _Models = None
    may_disable_safety: Annotated[
        bool, Field(description="Whether its jobs may switch the safety checker off")
    ] = False
    record_retention_seconds: Annotated[
        _Seconds,
        Field(
            description="How long its jobs are kept after their end, with their images; 0: "
            "forever; null: DARKROOM_RECORD_RETENTION_SECONDS. A job may say otherwise"
        ),
    ] = None
    # after the one that it is compared with
    image_retention_seconds: Annotated[
        _Seconds,
        Field(
            description="How long its images are kept after the end of their jobs, at most "
            "`record_retention_seconds`; 0: as long as the job; null: "
            "DARKROOM_IMAGE_RETENTION_SECONDS. A job may say otherwise"
        ),
    ] = None
    archive_prompts: Annotated[
        bool,
        Field(
            description="Whether its prompts are archived; if false, jobs that move to the history "
            "lose their prompt, and cannot be retried or reproduced then"
        ),
    ] = True

    @field_validator("image_retention_seconds")
    @classmethod
    def _fits(cls, value: int | None, info: ValidationInfo) -> int | None:
        kept = Retention(value, info.data.get("record_retention_seconds"))
        if fault := kept.image_fault("record_retention_seconds"):
            raise ValueError(fault)
        return value

    def changes(self) -> Changes:
        """Return the members that were sent."""
        return _sent(self, LimitsBody)

    def conflicts(self, stored: StoredTenant) -> list[FieldError]:
        """Return what does not fit the limits of the tenant that stay."""
        sent = self.model_fields_set
        image, record = "image_retention_seconds", "record_retention_seconds"
        kept = Retention(
            *(getattr(self if name in sent else stored, name) for name in (image, record))
        )
        if image in sent and (fault := kept.image_fault(record)):
            return [FieldError(f"/{image}", fault)]
        if record in sent and (fault := kept.record_fault(image)):
            return [FieldError(f"/{record}", fault)]
        return []


class TenantBody(LimitsBody):
    """Creates a tenant."""

    name: TenantName


class RotateBody(Strict):
    """Replaces a key."""

    grace_seconds: Annotated[
        int,
        Field(ge=0, le=GRACE_SECONDS_MAX, description="Seconds for which the old key still works"),
        INTEGER,
    ] = GRACE_SECONDS
    expires_at: Moment | None = None


class KeyLimitsBody(Strict):
    """The limits of a key, beside those of its tenant; null means no limit."""

    monthly_credits: Annotated[
        _Credits,
        Field(
            description="Estimated credits in a calendar month (UTC); when they are used up, new "
            "jobs are refused"
        ),
    ] = None
    requests_per_minute: Annotated[
        _Count, Field(description="Requests per minute that create or retry jobs")
    ] = None
    models: _Models = None

    def changes(self) -> Changes:
        """Return the members that were sent."""
        return _sent(self, KeyLimitsBody)


class _NewKeyBody(Strict):
    scopes: Annotated[tuple[Scope, ...], Field(description="What the key grants")] = TENANT_SCOPES
    expires_at: Moment | None = None
    label: Annotated[_Label, Field(description="A name that helps people to recognize it")] = ""

    @field_validator("scopes")
    @classmethod
    def _scopes(cls, value: tuple[Scope, ...]) -> tuple[Scope, ...]:
        if not value:
            raise ValueError("names no scope")
        return value


class KeyBody(_NewKeyBody, KeyLimitsBody):
    """Creates a key."""


class OpsKeyBody(_NewKeyBody):
    """Creates an operator key, which has no access to a tenant's own routes."""

    scopes: Annotated[tuple[Scope, ...], Field(description="What the key grants")] = OPS_SCOPES

    @field_validator("scopes")
    @classmethod
    def _of_operators(cls, value: tuple[Scope, ...]) -> tuple[Scope, ...]:
        if not set(value) <= set(OPS_SCOPES):
            raise ValueError(f"must be one of {', '.join(OPS_SCOPES)}")
        return value


def _check_provider_key(value: str) -> str:
    key = setting_values.trimmed(value)
    if not key or ":" in key or "," in key:
        raise ValueError("must be one key, without `:` and `,`; the team is a member of its own")
    setting_values.check_keys([key])
    return key


def _check_team(value: str | None) -> str | None:
    if value is not None and not TEAM.fullmatch(value):
        raise ValueError(TEAM_RULE)
    return value


class ProviderKeyBody(Strict):
    """Adds a key of 1min.ai, or changes the team or the label of a stored one."""

    key: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1000),
        AfterValidator(_check_provider_key),
        Field(description="The key, as 1min.ai shows it; it is never returned"),
    ]
    team: Annotated[
        str | None,
        AfterValidator(_check_team),
        Field(description="Keys of one team share its credits; null: as it was, or its own team"),
    ] = None
    label: Annotated[_Label | None, Field(description="Null: as it was")] = None

    def changes(self) -> dict[str, str]:
        """Return the given members that are stored as they are."""
        given = {"team": self.team, "label": self.label}
        return {name: value for name, value in given.items() if value is not None}


class FilterBody(JobFilterBody):
    """Which jobs of all tenants: all that match every given member."""

    id: _JobId | None = None
    tenant: FilterText | None = None


class BulkBody(Confirmed):
    """Changes many jobs: counted first, then confirmed."""

    filter: FilterBody


class RedeliverAllBody(Confirmed):
    """Redelivers everything that failed: counted first, then confirmed."""

    since: Annotated[Moment, Field(description="What failed from then on")]
    tenant: FilterText | None = None
