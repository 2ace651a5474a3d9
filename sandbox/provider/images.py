"""The image host: its state as a whole, and its own port.

`PUT /_sandbox/images` sets it, besides the faults that a script sets for single downloads.
"""

import asyncio
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import URL

from sandbox.provider.behavior import BadBody
from sandbox.provider.faults import Seconds
from sandbox.provider.listening import ImagePort


class ImagesBody(BaseModel):
    """The body of `PUT /_sandbox/images`; `{}` restores the host.

    `refuse` closes the port of the image host, and its connections; without such a port each
    connection is reset. `missing_seconds`: an image responds 404 until it is this old, like
    eventually consistent storage. After `until_seconds` the host is restored.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    state: Literal["ok", "refuse", "hang", "status"] = "ok"
    status: Annotated[int, Field(ge=400, le=599)] = 503
    missing_seconds: Seconds = 0
    until_seconds: Seconds | None = None


class ImageHost:
    """The state of the image host, for all downloads."""

    def __init__(self, port: ImagePort | None = None) -> None:
        """Also serve on `port`, if given."""
        self._port = port
        self._chosen = ImagesBody()
        self._recovery: asyncio.Task[None] | None = None

    @property
    def fault(self) -> str | None:
        """The fault of all downloads: "refuse", "hang" or a status; None normally."""
        if self._chosen.state == "status":
            return str(self._chosen.status)
        return None if self._chosen.state == "ok" else self._chosen.state

    def lacks(self, age_seconds: float) -> bool:
        """Return whether an image of this age is still missing."""
        return age_seconds < self._chosen.missing_seconds

    def url_beside(self, api: URL) -> str:
        """Return the URL of the host, for a client that reaches the API at `api`."""
        return str(api if self._port is None else api.replace(port=self._port.number))

    async def replace(self, body: bytes) -> None:
        """Set the state from JSON; raise BadBody and change nothing if it is invalid."""
        try:
            new = ImagesBody.model_validate_json(body)
        except ValidationError as error:
            raise BadBody(error) from None
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        await self._choose(new)
        if new.until_seconds is not None:
            self._recovery = asyncio.create_task(self._recover(new.until_seconds))

    async def _recover(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._choose(ImagesBody())

    async def _choose(self, new: ImagesBody) -> None:
        self._chosen = new
        if self._port is None:
            return
        if new.state == "refuse":
            self._port.close()
        else:
            await self._port.open()

    def shown(self) -> dict[str, Any]:
        """Return the state as JSON, with the port of the host or null."""
        port = None if self._port is None else self._port.number
        return self._chosen.model_dump() | {"port": port}
