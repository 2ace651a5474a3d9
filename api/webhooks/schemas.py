"""The bodies, queries and cursors of webhook routes."""

import re
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from api.jobs.schemas import Moment, Strict, WebhookTarget
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
from api.webhooks.url_validation import address_guard, check_url
from shared.jobs import DeliveryState
from shared.store.delivery_log import Cursor

_CURSOR = re.compile(r"([0-9]{1,15}) ([a-z0-9_]{1,80})")


class RedeliverBody(Strict):
    """Redelivers everything that failed."""

    since: Annotated[Moment, Field(description="Deliveries that failed since this time, RFC 3339")]


class EndpointBody(Strict):
    """Names an endpoint."""

    url: Annotated[str, Field(description="http or https; the query is ignored")]

    @field_validator("url")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        return check_url(value, guard=address_guard(info.context))


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
