"""Run the provider on a port of this machine."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import uvicorn

from sandbox.provider.app import create_app
from sandbox.provider.connection import OpenProtocol
from sandbox.provider.listening import BACKLOG, ImagePort, listening
from shared.model_catalog import Catalog


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a provider. Port 0 is any free one; see `create_app` for the rest.

    With `image_port`, images are served there, besides the API.
    """

    host: str = "127.0.0.1"
    port: int = 8081
    latency_seconds: float = 0.3
    url_lifetime_seconds: float = 600
    keys: Iterable[str] | None = None
    base_url: str | None = None
    image_port: int | None = None
    catalog: Catalog | None = None


class Server(uvicorn.Server):
    """A uvicorn server that also listens on the image port, and does not wait for hanging calls."""

    def __init__(self, config: uvicorn.Config, images: ImagePort | None) -> None:
        """Serve `config`, on the port of `images` too."""
        super().__init__(config)
        self._images = images

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self._images is not None:
            await self._images.serve(self._protocol, self._cut)

    def _protocol(self) -> asyncio.Protocol:
        return OpenProtocol(self.config, self.server_state, self.lifespan.state)

    def _cut(self, port: int | None = None) -> None:
        """Close all connections, or those to one port."""
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport is not None and port in {None, transport.get_extra_info("sockname")[1]}:
                transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections, then stop."""
        if self._images is not None:
            self._images.close()
        self._cut()
        await super().shutdown(sockets)


def serve(options: Options, announce: Callable[[str], None] = lambda _url: None) -> None:
    """Serve until interrupted; `announce` gets the URL once connections are accepted.

    Raise PortTaken.
    """
    with _served(options) as (listener, server):
        announce(_url_of(listener))
        with contextlib.suppress(KeyboardInterrupt):
            server.run([listener])


@contextlib.contextmanager
def running(options: Options | None = None) -> Iterator[str]:
    """Serve in a thread during the block, on a free port by default; return the URL.

    Raise PortTaken.
    """
    options = options or Options(port=0, latency_seconds=0)
    with _served(options) as (listener, server):
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox-provider")
        thread.start()
        try:
            yield _url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _served(options: Options) -> Iterator[tuple[socket.socket, Server]]:
    """Listen before the server runs; its ports are free again after the block."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(options.host, options.port))
        images = None
        if options.image_port is not None:
            images = ImagePort(options.host, options.image_port)
            stack.callback(images.release)
        yield listener, _server(options, images)


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(options: Options, images: ImagePort | None) -> Server:
    app = create_app(
        options.base_url,
        latency_seconds=options.latency_seconds,
        url_lifetime_seconds=options.url_lifetime_seconds,
        keys=options.keys,
        image_port=images,
        catalog=options.catalog,
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
        # a client's pool must survive many pauses between calls
        timeout_keep_alive=60,
    )
    return Server(config, images)
