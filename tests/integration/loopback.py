"""Servers on loopback that do to a connection whatever a test says."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

Script = Callable[[socket.socket, threading.Event], None]

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def serving(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Run `script(connection, stopped)` for each connection; return the port."""
    stopped = threading.Event()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, 0)))
        listener.settimeout(0.05)
        accepting = threading.Thread(target=_accept, args=(listener, script, tls, stopped))
        accepting.start()
        stack.callback(accepting.join)
        stack.callback(stopped.set)
        yield listener.getsockname()[1]


def _accept(
    listener: socket.socket, script: Script, tls: ssl.SSLContext | None, stopped: threading.Event
) -> None:
    running: list[threading.Thread] = []
    while not stopped.is_set():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            connection.settimeout(10)
            running.append(threading.Thread(target=_run, args=(connection, script, tls, stopped)))
            running[-1].start()
    for thread in running:
        thread.join()


def _run(
    connection: socket.socket, script: Script, tls: ssl.SSLContext | None, stopped: threading.Event
) -> None:
    with suppress(OSError), ExitStack() as stack:
        stack.enter_context(connection)
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection, server_side=True))
        script(connection, stopped)


def read_request(connection: socket.socket) -> bytes:
    """Read one request with the body that its Content-Length tells."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    wanted = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            wanted = int(line.split(b":")[1])
    while len(body) < wanted:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answering(reply: bytes) -> Script:
    """Read a request, send `reply`, close."""

    def script(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(reply)

    return script


def dripping(start: bytes, drop: bytes) -> Script:
    """Read a request, send `start`, then `drop` twenty times a second until hung up on."""

    def script(connection: socket.socket, stopped: threading.Event) -> None:
        read_request(connection)
        connection.sendall(start)
        while not stopped.wait(0.05):
            connection.sendall(drop)

    return script


def in_turn(*scripts: Script) -> Script:
    """Do to each connection what comes next; to all after the last what was done to that."""
    left = list(scripts)

    def script(connection: socket.socket, stopped: threading.Event) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection, stopped)

    return script


def silent(connection: socket.socket, stopped: threading.Event) -> None:
    """Take the connection and never say a word."""
    del connection
    stopped.wait()


def reading_slowly(connection: socket.socket, stopped: threading.Event) -> None:
    """Take the request a few bytes at a time."""
    while not stopped.wait(0.05):
        connection.recv(1000)
