"""Which service a command speaks with, as flags that every command has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from darkroom.async_client import AsyncClient
from darkroom.client import Client
from darkroom.config import ServiceConfig, load_config
from darkroom.retries import RetryPolicy

#: Of a list, how much is shown.
Limit = Annotated[int, Parameter(help="How many at most.", validator=Number(gte=1))]

_GROUP = Group("Service", sort_key=9)

#: A person waits some two seconds for a service that is away; a folder of images half a minute.
_PERSONS = RetryPolicy(retries=3)


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class Where:
    """Which service, and how to answer."""

    url: Annotated[
        str | None, Parameter(help="URL of the service; default: DARKROOM_URL, or a running stack.")
    ] = field(default=None, repr=False)
    key: Annotated[
        str | None,
        Parameter(help="API key; default: DARKROOM_API_KEY (DARKROOM_OPS_KEY for queues)."),
    ] = field(default=None, repr=False)
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False

    def config(self, kind: str = "api") -> ServiceConfig:
        """Find the service; raises NotConfigured."""
        return load_config(self.url, self.key, kind=kind)

    @contextmanager
    def client(self, kind: str = "api") -> Iterator[Client]:
        """Open a client with a key of this kind."""
        config = self.config(kind)
        with Client(config.url, config.key, retry_policy=_PERSONS) as client:
            yield client

    def async_client(self) -> AsyncClient:
        """Build a client for many calls at once."""
        config = self.config()
        return AsyncClient(config.url, config.key)


#: What a command has that was given no flags of this kind.
HERE = Where()
