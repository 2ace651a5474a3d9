"""The bodies of requests about webhooks, as pydantic checks them."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from starlette.requests import Request

from api import json_body
from api.context import app_context
from api.jobs.schemas import Moment, Strict, WebhookTarget
from api.webhooks.url_validation import check_url
from shared.net.ssrf import AddressGuard

B = TypeVar("B", bound=BaseModel)


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


async def read_body(request: Request, model: type[B]) -> B:
    """Read and check a body; raises a Problem that names every fault."""
    settings = app_context(request).settings
    guard = AddressGuard(settings.webhook_allow_hosts, settings.webhook_port_ranges)
    return await json_body.read_body(request, model, context=guard)
