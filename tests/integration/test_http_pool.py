"""Which connection a request goes over, and what becomes of those that rest."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread

import httpx
import pytest

from sandbox.wait import wait_until
from shared.net.http_client import open_stream
from shared.net.http_pool import PooledTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def is_asked(connection: socket.socket) -> bool:
    """Read a request without a body; False at the end of the connection."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            return False
        received += piece
    return True


class Server:
    """Answers on loopback, over any number of connections, and knows each by its number."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.connections: list[socket.socket] = []
        #: the connection of each request
        self.asked: list[int] = []
        #: those that the other side has closed
        self.left: set[int] = set()
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            Thread(target=self._serve, args=(len(self.connections) - 1,), daemon=True).start()

    def _serve(self, number: int) -> None:
        connection = self.connections[number]
        with suppress(OSError):
            while is_asked(connection):
                self.asked.append(number)
                connection.sendall(ANSWER)
        self.left.add(number)

    def close(self) -> None:
        for one in (self._listening, *self.connections):
            one.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@contextmanager
def pool(most: int = 8, keepalive_seconds: float = 60) -> Iterator[PooledTransport]:
    opened = partial(open_stream)
    made = PooledTransport(opened, most=most, keepalive_seconds=keepalive_seconds)
    yield made
    made.close()


def ask(here: PooledTransport, server: Server) -> httpx.Response:
    """Ask, and leave the answer to be read."""
    return here.handle_request(httpx.Request("GET", f"http://127.0.0.1:{server.port}/"))


def finish(*answers: httpx.Response) -> None:
    for one in answers:
        assert one.read() == b"ok"
        one.close()


def test_the_connection_that_rested_shortest_is_used_next(server: Server) -> None:
    with pool() as here:
        first, second = ask(here, server), ask(here, server)
        finish(second, first)
        finish(ask(here, server))
        finish(ask(here, server))
    assert server.asked == [0, 1, 0, 0]


def test_each_host_has_connections_of_its_own(server: Server) -> None:
    other = Server()
    with pool() as here:
        for one in (server, other, server, other):
            finish(ask(here, one))
    assert (server.asked, other.asked) == ([0, 0], [0, 0])
    other.close()


def test_more_than_the_most_do_not_rest_and_the_longest_rested_goes_first(server: Server) -> None:
    with pool(most=2) as here:
        answers = [ask(here, server) for _ in range(3)]
        finish(*answers)
        wait_until(lambda: server.left == {0}, "the longest rested to be closed")
        finish(ask(here, server))
    assert server.asked == [0, 1, 2, 2]


def test_one_that_rested_too_long_is_closed_when_another_comes_to_rest(server: Server) -> None:
    other = Server()
    with pool(keepalive_seconds=0) as here:
        finish(ask(here, server))
        finish(ask(here, other))
        wait_until(lambda: server.left == {0}, "the connection that nobody asks over any more")
    other.close()


def test_one_that_the_host_closed_is_not_used_again(server: Server) -> None:
    with pool() as here:
        finish(ask(here, server))
        server.connections[0].shutdown(socket.SHUT_RDWR)
        wait_until(lambda: server.left == {0}, "its end")
        finish(ask(here, server))
    assert server.asked == [0, 1]


def test_one_whose_answer_was_not_read_to_its_end_is_closed(server: Server) -> None:
    with pool() as here:
        ask(here, server).close()
        wait_until(lambda: server.left == {0}, "its end")
        finish(ask(here, server))
    assert server.asked == [0, 1]


def test_a_closed_pool_keeps_none_and_takes_none_back(server: Server) -> None:
    with pool() as here:
        resting, out = ask(here, server), ask(here, server)
        finish(resting)
    wait_until(lambda: server.left == {0}, "the end of that which rested")
    finish(out)
    wait_until(lambda: server.left == {0, 1}, "the end of that which was out")


def test_threads_share_it_without_meeting_on_a_connection(server: Server) -> None:
    go = Event()
    wrong: list[httpx.Response] = []

    def work() -> None:
        go.wait()
        for _ in range(50):
            answer = ask(here, server)
            if answer.read() != b"ok":
                wrong.append(answer)
            answer.close()

    with pool(most=4) as here:
        threads = [Thread(target=work) for _ in range(8)]
        for one in threads:
            one.start()
        go.set()
        for one in threads:
            one.join(30)
    assert (len(server.asked), wrong) == (400, [])


def test_only_http_is_spoken() -> None:
    with pool() as here, pytest.raises(httpx.UnsupportedProtocol):
        here.handle_request(httpx.Request("GET", "ftp://127.0.0.1/"))
