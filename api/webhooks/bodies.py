"""The bodies of requests about webhooks, as pydantic checks them."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from starlette.requests import Request

from api.jobs.body import Receiver, Strict
from api.jobs.create import require_json
from api.jobs.faults import faults_of
from api.jobs.hook import check_url
from api.parts import parts_of
from api.problems import invalid
from api.query import milliseconds
from shared.net.addresses import AddressGuard

B = TypeVar("B", bound=BaseModel)


class RedeliverBody(Strict):
    """Asks for everything that failed to be sent again."""

    since: Annotated[str, Field(description="What failed from then on, RFC 3339")]

    @field_validator("since")
    @classmethod
    def _since(cls, value: str) -> str:
        milliseconds(value)
        return value


class EndpointBody(Strict):
    """Names a receiver."""

    url: Annotated[str, Field(description="http or https; its query does not count")]

    @field_validator("url")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        return check_url(value, guard=info.context or AddressGuard())


class TestBody(Receiver):
    """Asks for one test event, signed and sent as any other."""

    __test__ = False  # pytest takes every class of this name for one of its own


async def read_body(request: Request, model: type[B]) -> B:
    """Read and check a body; raises a Problem that names every fault."""
    require_json(request)
    raw, settings = await request.body(), parts_of(request).settings
    guard = AddressGuard(settings.webhook_allow_hosts, settings.webhook_port_ranges)
    try:
        return model.model_validate_json(raw, context=guard)
    except ValidationError as error:
        raise invalid(faults_of(error, model)) from None
