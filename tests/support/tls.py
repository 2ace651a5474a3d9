"""TLS for clients and before servers on loopback."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import create_connection, create_server, socket

import httpx

#: The context of the tests' HTTP clients: one of its own costs each client 50 ms of CPU.
TLS = httpx.create_ssl_context()


@contextmanager
def tls_before(
    port: int, context: ssl.SSLContext, *, greet: Callable[[socket], None] = lambda _: None
) -> Iterator[int]:
    """Speak TLS before a server on loopback, after `greet`; return the port."""
    with create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = server.accept()
                    greet(taken)
                    threading.Thread(target=_join, args=(taken, port, context), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def _join(taken: socket, port: int, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        outside = context.wrap_socket(taken, server_side=True)
        inside = create_connection(("127.0.0.1", port))
        threading.Thread(target=_pass, args=(inside, outside), daemon=True).start()
        _pass(outside, inside)


def _pass(source: socket, target: socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    for one in (source, target):
        one.close()
