"""The connection flags that every command has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from darkroom.async_client import AsyncClient
from darkroom.client import Client
from darkroom.config import ServiceConfig, load_config
from darkroom.errors import UsageError
from darkroom.retries import RetryPolicy

#: How many entries of a list are shown.
Limit = Annotated[
    int, Parameter(help="Maximum number of entries to list.", validator=Number(gte=1))
]

#: Metadata, as `--metadata order=A-17`; read by `pairs`.
Pairs = Annotated[
    list[str] | None, Parameter(negative="", help="Metadata, as order=A-17; may be repeated.")
]

_GROUP = Group("Service", sort_key=9)

#: A command waits about two seconds for an unavailable service; a folder of images half a minute.
_PERSONS = RetryPolicy(retries=3)


def pairs(
    written: list[str], option: str = "--metadata", example: str = "order=A-17"
) -> dict[str, str]:
    """Parse `name=value` pairs of an option; raise UsageError that names every malformed one."""
    found, wrong = {}, []
    for one in written:
        name, equals, value = one.partition("=")
        if not name or not equals:
            wrong.append(f"{option} needs name=value, such as {example}, and not {one}.")
        elif name in found:
            wrong.append(f"{option} {name} is given more than once: give it once.")
        found[name] = value
    if wrong:
        raise UsageError("\n".join(wrong))
    return found


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class Where:
    """The service to use, and the output format."""

    url: Annotated[
        str | None, Parameter(help="URL of the service; default: DARKROOM_URL, or a running stack.")
    ] = field(default=None, repr=False)
    key: Annotated[
        str | None,
        Parameter(help="API key; default: DARKROOM_API_KEY (DARKROOM_OPS_KEY for queues)."),
    ] = field(default=None, repr=False)
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False

    def config(self, kind: str = "api") -> ServiceConfig:
        """Find the service; raise NotConfigured."""
        return load_config(self.url, self.key, kind=kind)

    @contextmanager
    def client(self, kind: str = "api") -> Iterator[Client]:
        """Open a client with a key of this kind."""
        config = self.config(kind)
        with Client(config.url, config.key, retry_policy=_PERSONS) as client:
            yield client

    def async_client(self) -> AsyncClient:
        """Build an asyncio client for concurrent calls."""
        config = self.config()
        return AsyncClient(config.url, config.key)


#: The defaults without such flags.
HERE = Where()
