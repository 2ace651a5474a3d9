"""The bodies and queries of requests about webhooks, as pydantic checks them; cursors."""

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
from api.webhooks.url_validation import check_url
from shared.jobs import DeliveryState
from shared.net.ssrf import AddressGuard
from shared.store.delivery_log import Cursor

_CURSOR = re.compile(r"([0-9]{1,15}) ([a-z0-9_]{1,80})")


class RedeliverBody(Strict):
    """Asks for everything that failed to be sent again."""

    since: Annotated[Moment, Field(description="What failed from then on, RFC 3339")]


class EndpointBody(Strict):
    """Names a receiver."""

    url: Annotated[str, Field(description="http or https; its query does not count")]

    @field_validator("url")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        return check_url(value, guard=info.context or AddressGuard())


class TestBody(WebhookTarget):
    """Asks for one test event, signed and sent as any other."""

    __test__ = False  # pytest takes every class of this name for one of its own


def encode_delivery_cursor(cursor: Cursor | None) -> str | None:
    """Write where a page of deliveries or endpoints ended as a cursor; None at the end."""
    return encode_cursor(f"{cursor.at} {cursor.id}") if cursor else None


def decode_delivery_cursor(written: str) -> Cursor:
    """Read a cursor; raises ValueError for anything that is none."""
    found = _CURSOR.fullmatch(decode_cursor(written))
    if not found:
        raise ValueError("is no cursor of this list")
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
        """Where the page before ended."""
        return None if self.cursor is None else decode_delivery_cursor(self.cursor)


class DeliveriesQuery(PageQuery):
    """Which deliveries to list."""

    job_id: Annotated[Text, Field(description="Only of this job")] = None
    status: Annotated[
        DeliveryState | None,
        is_given(enum_member(DeliveryState)),
        OPTIONAL,
        Field(description="Only these"),
    ] = None
