"""The listening ports of the provider."""

import asyncio
import socket
from collections.abc import Callable

BACKLOG = 2048
HIGHEST_PORT = 65_535


class PortTaken(OSError):
    """The port is not available; the text is a sentence for the operator."""


def bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to the port but not listening yet; 0 is any free port.

    Raise PortTaken.
    """
    if not 0 <= port <= HIGHEST_PORT:
        raise PortTaken(_refusal(host, port, f"a port is 0 to {HIGHEST_PORT}"))
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise PortTaken(_refusal(host, port, error.strerror or str(error))) from error
    return made


def listening(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that clients can connect as soon as they know the URL.

    Raise PortTaken.
    """
    made = bound(host, port)
    try:
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise PortTaken(_refusal(host, port, error.strerror or str(error))) from error
    return made


def _refusal(host: str, port: int, reason: str) -> str:
    return f"The sandbox cannot listen on {host}:{port}: {reason}."


class ImagePort:
    """The port of the image host, which can be closed and reopened while the API runs.

    A closed port stays bound: connections are refused, and no other process can take it.
    """

    def __init__(self, host: str, port: int) -> None:
        """Bind the port, 0 for any free one. Raise PortTaken."""
        self._host = host
        self._socket = listening(host, port)
        self.number: int = self._socket.getsockname()[1]
        self._server: asyncio.AbstractServer | None = None
        self._protocol: Callable[[], asyncio.Protocol] | None = None
        self._cut: Callable[[int], None] = lambda _port: None

    async def serve(
        self, protocol: Callable[[], asyncio.Protocol], cut: Callable[[int], None]
    ) -> None:
        """Open the port. `protocol` handles a connection; `cut` closes all those to a port."""
        self._protocol, self._cut = protocol, cut
        await self.open()

    async def open(self) -> None:
        """Accept connections."""
        if self._server is None and self._protocol is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                self._protocol, sock=self._socket, backlog=BACKLOG
            )

    def close(self) -> None:
        """Refuse connections and close existing ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket = bound(self._host, self.number)
            self._cut(self.number)

    def release(self) -> None:
        """Release the port."""
        self._socket.close()
