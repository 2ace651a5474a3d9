"""Faults of the connection itself: closed without a response, cut short, or sending too much.

ASGI cannot express them, so the protocol passes its transport in the scope's extensions. Each
response here ends by waiting until the connection is closed: to uvicorn that is an ordinary end,
and nothing is logged.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "darkroom.connection"
#: SO_LINGER with no time: close sends RST and not FIN.
LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


class OpenProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, which gives the application access to the transport."""

    def on_message_begin(self) -> None:
        """Add the transport to the scope of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"transport": self.transport}}


def _transport(scope: Scope) -> asyncio.Transport:
    extension = scope.get("extensions", {}).get(EXTENSION)
    if extension is None:
        raise RuntimeError("this fault needs sandbox.provider.server: the transport is not known")
    transport: asyncio.Transport = extension["transport"]
    return transport


async def gone(receive: Receive) -> None:
    """Wait until the client or the server has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def pause(receive: Receive, seconds: float) -> None:
    """Wait a number of seconds, or until the connection is closed."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gone(receive), seconds)


class Dropped(Response):
    """Close the connection without a reply; `reset` with a TCP reset."""

    def __init__(self, *, reset: bool = False) -> None:
        """Take how to close."""
        super().__init__()
        self.reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Close."""
        transport = _transport(scope)
        if self.reset:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT_AT_ALL)
        transport.abort()
        await gone(receive)


class Silent(Response):
    """Send nothing and keep the connection open until the client closes it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Wait."""
        await gone(receive)


class Misdeclared(Response):
    """Declare one length and send another, then close the connection."""

    def __init__(self, content: bytes, declared: int, headers: Mapping[str, str]) -> None:
        """Send all of `content` with a `Content-Length` of `declared`."""
        # so that no client reuses a connection that is about to close
        all_headers = {**headers, "Content-Length": str(declared), "Connection": "close"}
        super().__init__(headers=all_headers)
        self.content = content
        self.declared = declared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, bypassing uvicorn's own count if it is too much."""
        transport = _transport(scope)
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        allowed, excess = self.content[: self.declared], self.content[self.declared :]
        await send({"type": "http.response.body", "body": allowed, "more_body": True})
        if excess:
            transport.write(excess)
        transport.close()
        await gone(receive)
