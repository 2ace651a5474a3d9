"""Runs the provider on a port of this machine."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import uvicorn

from sandbox.provider.app import create_app
from sandbox.provider.connection import OpenProtocol

BACKLOG = 2048
HIGHEST_PORT = 65_535


class PortTaken(OSError):
    """The port cannot be listened on; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a provider is run. Port 0 is any free one; see `create_app` for the rest."""

    host: str = "127.0.0.1"
    port: int = 8081
    latency_seconds: float = 0.3
    url_lifetime_seconds: float = 600
    keys: Iterable[str] | None = None
    base_url: str | None = None


class Server(uvicorn.Server):
    """A uvicorn that does not wait for calls which hang on purpose."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut every connection, then stop."""
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport is not None:
                transport.abort()
        await super().shutdown(sockets)


def serve(options: Options, announce: Callable[[str], None] = lambda _url: None) -> None:
    """Serve until interrupted; `announce` is told the address as soon as it takes connections.

    Raises PortTaken.
    """
    with _listening(options) as listener:
        announce(_url_of(listener))
        with contextlib.suppress(KeyboardInterrupt):
            _server(options).run([listener])


@contextlib.contextmanager
def running(options: Options | None = None) -> Iterator[str]:
    """Serve in a thread while the block runs, on a free port if none is given; gives the address.

    Raises PortTaken.
    """
    options = options or Options(port=0, latency_seconds=0)
    with _listening(options) as listener:
        server = _server(options)
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox-provider")
        thread.start()
        try:
            yield _url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _listening(options: Options) -> Iterator[socket.socket]:
    """Listen before the server runs: whoever is told the address can connect at once."""
    if not 0 <= options.port <= HIGHEST_PORT:
        raise PortTaken(_refusal(options, f"a port is 0 to {HIGHEST_PORT}"))
    address = (options.host, options.port)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise PortTaken(_refusal(options, error.strerror or str(error))) from error
    with listener:
        yield listener


def _refusal(options: Options, reason: str) -> str:
    """Say it in a sentence; Python adds the address to its reason, which stands here already."""
    why = reason.partition(" (while")[0]
    return f"The sandbox cannot listen on {options.host}:{options.port}: {why}."


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(options: Options) -> Server:
    app = create_app(
        options.base_url,
        latency_seconds=options.latency_seconds,
        url_lifetime_seconds=options.url_lifetime_seconds,
        keys=options.keys,
    )
    config = uvicorn.Config(
        app,
        http=OpenProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        server_header=False,
        # a client's pool outlives many pauses between its calls
        timeout_keep_alive=60,
    )
    return Server(config)
