"""The bodies, queries and cursors of webhook routes."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic.config import JsonDict

from api.jobs.schemas import (
    Moment,
    Strict,
    WebhookHeaders,
    WebhookOptions,
    WebhookTarget,
    WebhookUrl,
    distinct,
)
from api.query import (
    LIMIT_DEFAULT,
    OPTIONAL,
    Limit,
    QueryModel,
    Text,
    decode_cursor,
    encode_cursor,
    enum_member,
    is_given,
    is_readable,
)
from shared.batches import BatchEvent
from shared.jobs import DeliveryState, EventType
from shared.operator_events import DEFAULT_EVENTS, OperatorEvent
from shared.store.delivery_log import Cursor
from shared.store.endpoints import EndpointSettings
from shared.tenant_events import TenantEvent

#: The events that an endpoint can be subscribed to.
ENDPOINT_EVENTS: tuple[str, ...] = (*EventType, *BatchEvent, *TenantEvent)
OPERATOR_EVENTS: tuple[str, ...] = tuple(OperatorEvent)
DESCRIPTION_CHARACTERS = 200
_CURSOR = re.compile(r"([0-9]{1,15}) ([a-z0-9_]{1,80})")


def checked_events(value: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return events without repetitions; raise ValueError if there is none, or an unknown one."""
    if not value:
        raise ValueError("must have at least one event")
    if not set(value) <= set(known):
        raise ValueError(f"must have only these: {', '.join(known)}")
    return distinct(value)


def event_items(known: tuple[str, ...]) -> JsonDict:
    """Return the JSON Schema of the items of a list of events."""
    return {"items": {"type": "string", "enum": [*known]}}


class RedeliverBody(Strict):
    """Redelivers everything that failed."""

    since: Annotated[Moment, Field(description="Deliveries that failed since this time, RFC 3339")]


class EndpointMembers(Strict):
    """The settings of an endpoint of a tenant or of operators; absent members stay."""

    description: Annotated[
        str,
        Field(
            max_length=DESCRIPTION_CHARACTERS,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="What it is for",
        ),
    ] = ""
    enabled: Annotated[
        bool, Field(description="Whether webhooks are sent; false: they wait for at most 7 days")
    ] = True

    @property
    def settings(self) -> EndpointSettings:
        """Return the members that were sent."""
        names = self.model_fields_set - {"url"}
        return EndpointSettings(**{name: getattr(self, name) for name in names})


class EndpointSettingsBody(EndpointMembers, WebhookOptions):
    """The settings of an endpoint; absent members stay."""

    events: Annotated[
        tuple[str, ...],
        Field(
            description="Events to send: they make it a standing endpoint",
            json_schema_extra=event_items(ENDPOINT_EVENTS),
        ),
    ] = ()

    @field_validator("events")
    @classmethod
    def _events(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_events(value, ENDPOINT_EVENTS)


class EndpointBody(EndpointSettingsBody, WebhookTarget):
    """Registers an endpoint: a standing one if it has `events`."""


class OperatorEndpointSettingsBody(EndpointMembers, WebhookHeaders):
    """The settings of an endpoint of operators; absent members stay."""

    events: Annotated[
        tuple[str, ...],
        Field(
            description="Events to send; absent in a new endpoint: all but `audit.recorded`",
            json_schema_extra=event_items(OPERATOR_EVENTS),
        ),
    ] = tuple(DEFAULT_EVENTS)
    format: Annotated[
        Literal["standard", "slack"],
        Field(
            description='standard: Standard Webhooks, signed. slack: `{"text"}`, for an incoming '
            "webhook of Slack"
        ),
    ] = "standard"

    @field_validator("events")
    @classmethod
    def _events(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_events(value, OPERATOR_EVENTS)


class OperatorEndpointBody(OperatorEndpointSettingsBody, WebhookUrl):
    """Creates an endpoint of operators."""


class TestBody(WebhookTarget):
    """Requests one test event, signed and sent like any other."""

    __test__ = False  # pytest would collect every class with this name


def encode_delivery_cursor(cursor: Cursor | None) -> str | None:
    """Encode where a page of deliveries or endpoints ended; None at the end."""
    return encode_cursor(f"{cursor.at} {cursor.id}") if cursor else None


def decode_delivery_cursor(written: str) -> Cursor:
    """Decode a cursor; raise ValueError if it is malformed."""
    found = _CURSOR.fullmatch(decode_cursor(written))
    if not found:
        raise ValueError("is not a valid cursor of this list")
    return Cursor(int(found[1]), found[2])


class PageQuery(QueryModel):
    """A page of deliveries or endpoints."""

    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        is_readable(decode_delivery_cursor),
        OPTIONAL,
        Field(description="`next_cursor` of the page before"),
    ] = None

    @property
    def below(self) -> Cursor | None:
        """Where the previous page ended."""
        return None if self.cursor is None else decode_delivery_cursor(self.cursor)


class DeliveriesQuery(PageQuery):
    """The filter of a list of deliveries."""

    job_id: Annotated[Text, Field(description="Only of this job")] = None
    status: Annotated[
        DeliveryState | None,
        is_given(enum_member(DeliveryState)),
        OPTIONAL,
        Field(description="Only these"),
    ] = None
