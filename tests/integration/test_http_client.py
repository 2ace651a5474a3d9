import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import httpcore
import httpx
import pytest

from shared.errors import AddressForbidden
from shared.net.http_client import COALESCED_BYTES, USER_AGENT, BoundedStream, build_client
from shared.net.sockets import STEP_SECONDS, Egress, open_socket
from shared.net.ssrf import AddressGuard, Endpoint, resolve
from shared.net.timeouts import deadline, remaining, within
from tests.integration.loopback import (
    OK,
    Script,
    answering,
    dripping,
    read_request,
    reading_slowly,
    serving,
    silent,
)

TOTAL = 0.5
#: What a loaded machine may add to the total.
SLACK = 10
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
HEADERS = OK + b"Content-Length: 100000\r\n\r\n"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    # each operation may take far longer than the total, which alone must end it
    with build_client(concurrency=4, timeout_seconds=60) as built:
        yield built


@contextmanager
def ends_in_time() -> Iterator[None]:
    started_at = time.monotonic()
    with deadline(TOTAL):
        yield
    assert TOTAL * 0.8 < time.monotonic() - started_at < TOTAL + SLACK


@pytest.mark.parametrize(
    "script",
    [
        silent,
        dripping(b"", b"H"),
        dripping(OK, b"X-Drip: 1\r\n"),
        dripping(OK + b"X-Drip: ", b"1"),
        dripping(HEADERS, b"x"),
        dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["silence", "status", "headers", "one header", "body", "chunks"],
)
def test_a_peer_that_drips_is_left_when_the_total_is_over(
    client: httpx.Client, script: Script
) -> None:
    with serving(script) as port, ends_in_time(), pytest.raises(httpx.ReadTimeout):
        client.get(f"http://127.0.0.1:{port}/")


def test_a_peer_that_takes_the_request_in_drops_is_left_too(client: httpx.Client) -> None:
    with serving(reading_slowly) as port, ends_in_time(), pytest.raises(httpx.WriteTimeout):
        client.post(f"http://127.0.0.1:{port}/", content=b"x" * 50_000_000)


def test_a_handshake_that_never_answers_counts_as_not_connected(client: httpx.Client) -> None:
    with serving(silent) as port, ends_in_time(), pytest.raises(httpx.ConnectTimeout):
        client.get(f"https://127.0.0.1:{port}/")


def test_a_handshake_that_drips_is_left_when_the_total_is_over(client: httpx.Client) -> None:
    def drip(connection: socket.socket, stopped: Event) -> None:
        # a TLS record of 16 kB, announced and then sent a byte at a time
        connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
        while not stopped.wait(0.05):
            connection.sendall(b"\0")

    with serving(drip) as port, ends_in_time(), pytest.raises(httpx.ConnectTimeout):
        client.get(f"https://127.0.0.1:{port}/")


def test_a_body_under_tls_that_drips_is_left_when_the_total_is_over(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = certificates
    with (
        build_client(concurrency=1, timeout_seconds=60, egress=Egress(tls=ours)) as client,
        serving(dripping(HEADERS, b"x"), tls=theirs) as port,
        ends_in_time(),
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get(f"https://localhost:{port}/")


def test_tls_works_and_names_the_host_that_was_asked_for(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = certificates
    asked: list[str | None] = []
    theirs.sni_callback = lambda _, name, __: asked.append(name)
    with (
        build_client(concurrency=1, timeout_seconds=5, egress=Egress(tls=ours)) as client,
        serving(answering(EMPTY), tls=theirs) as port,
    ):
        assert client.get(f"https://localhost:{port}/").status_code == 200

    assert asked == ["localhost"]


def test_the_last_dot_of_a_name_is_not_asked_of_the_certificate(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = certificates

    def found(_: str, port: int, timeout: float | None) -> tuple[Endpoint, ...]:
        return resolve("127.0.0.1", port, timeout)

    with (
        build_client(
            concurrency=1, timeout_seconds=5, egress=Egress(tls=ours), resolver=found
        ) as client,
        serving(answering(EMPTY), tls=theirs) as port,
    ):
        assert client.get(f"https://localhost.:{port}/").status_code == 200


def test_a_cookie_is_not_told_to_anyone(client: httpx.Client) -> None:
    heads: list[bytes] = []

    def setting(connection: socket.socket, _stopped: Event) -> None:
        for _ in range(2):
            heads.append(read_request(connection))
            connection.sendall(OK + b"Set-Cookie: of=another; Path=/\r\nContent-Length: 0\r\n\r\n")

    with serving(setting) as port:
        for _ in range(2):
            client.get(f"http://127.0.0.1:{port}/")

    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)
    assert not client.cookies.jar


def test_a_user_name_in_a_url_is_not_sent_as_credentials(client: httpx.Client) -> None:
    heads: list[bytes] = []

    def noting(connection: socket.socket, _stopped: Event) -> None:
        heads.append(read_request(connection))
        connection.sendall(EMPTY)

    with serving(noting) as port:
        client.get(f"http://user:secret@127.0.0.1:{port}/")

    assert b"authorization" not in heads[0].lower()


INTERIM = b"HTTP/1.1 103 Early Hints\r\nX-A: " + b"a" * 1000 + b"\r\n\r\n"
CHUNK = b"1;" + b"x" * 1000 + b"\r\nx\r\n"


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", INTERIM),
        (OK, b"X-A: " + b"a" * 1000 + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
        (OK + b"Content-Length: 10000000000\r\n\r\n", b"x" * 65536),
    ],
    ids=["interim answers", "headers", "chunks", "body"],
)
def test_an_answer_without_end_is_read_up_to_its_bound(start: bytes, more: bytes) -> None:
    read: list[int] = []

    class Counting(BoundedStream):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            received = super().read(max_bytes, timeout)
            read.append(len(received))
            return received

    def endless(connection: socket.socket, stopped: Event) -> None:
        connection.sendall(start)
        while not stopped.is_set():
            connection.sendall(more)

    with serving(endless) as port:
        opened = open_socket("127.0.0.1", port, timeout=20)
        pool = httpcore.ConnectionPool(network_backend=Given(Counting(opened, 65_536)))
        with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)), pool:
            pool.request("GET", f"http://127.0.0.1:{port}/")

    assert sum(read) <= 65_536


class Given(httpcore.NetworkBackend):
    """Gives one connection that is open already."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def connect_tcp(self, *_: object, **__: object) -> httpcore.NetworkStream:
        return self._stream


def test_each_answer_of_a_connection_may_have_its_bytes() -> None:
    body = OK + b"Content-Length: 700\r\n\r\n" + b"x" * 700

    def thrice(connection: socket.socket, _stopped: Event) -> None:
        for _ in range(3):
            read_request(connection)
            connection.sendall(body)

    with (
        serving(thrice) as port,
        build_client(concurrency=1, timeout_seconds=5, answer_bytes=1000) as client,
    ):
        for _ in range(3):
            assert len(client.get(f"http://127.0.0.1:{port}/").content) == 700


def test_an_unknown_certificate_is_refused_before_anything_is_sent(
    client: httpx.Client, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    _, theirs = certificates
    with (
        serving(answering(EMPTY), tls=theirs) as port,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(f"https://localhost:{port}/")


def test_an_interim_answer_is_neither_the_answer_nor_lets_it_answer_the_next_request(
    client: httpx.Client,
) -> None:
    def hint(connection: socket.socket, _stopped: Event) -> None:
        for body in (b"first", b"other"):
            read_request(connection)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            connection.sendall(OK + b"Content-Length: 5\r\n\r\n" + body)

    with serving(hint) as port:
        answers = [client.get(f"http://127.0.0.1:{port}/") for _ in range(2)]

    assert [answer.content for answer in answers] == [b"first", b"other"]


def test_nobody_listening_is_no_connection(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(httpx.ConnectError):
        client.get(f"http://127.0.0.1:{port}/")


def test_a_connection_closed_after_the_request_is_told_apart(client: httpx.Client) -> None:
    with serving(answering(b"")) as port, pytest.raises(httpx.RemoteProtocolError):
        client.get(f"http://127.0.0.1:{port}/")


def test_headers_and_a_small_body_are_sent_together() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0)
        stream = BoundedStream(ours, None)
        stream.write(b"headers ")
        stream.write(b"body")
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        stream.write(b"")  # the end of a body with a declared length
        assert theirs.recv(100) == b"headers body"


def test_a_request_is_sent_before_its_response_is_read_or_when_it_is_long() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = BoundedStream(ours, None)
        stream.write(b"chunk")
        theirs.sendall(b"response")
        assert stream.read(100) == b"response"
        assert theirs.recv(100) == b"chunk"
        stream.write(bytes(COALESCED_BYTES))
        assert len(theirs.recv(COALESCED_BYTES, socket.MSG_WAITALL)) == COALESCED_BYTES


def test_one_connection_serves_many_requests(client: httpx.Client) -> None:
    opened: list[int] = []
    heads: list[bytes] = []

    def keep(connection: socket.socket, _stopped: Event) -> None:
        opened.append(connection.fileno())
        for _ in range(3):
            heads.append(read_request(connection))
            connection.sendall(EMPTY)

    with serving(keep) as port:
        for _ in range(3):
            assert client.get(f"http://127.0.0.1:{port}/").status_code == 200

    assert len(opened) == 1
    assert f"user-agent: {USER_AGENT}".encode() in heads[0].lower()


def test_an_idle_connection_that_the_peer_closed_is_not_used_again(client: httpx.Client) -> None:
    gone = Event()

    def close(connection: socket.socket, _: Event) -> None:
        read_request(connection)
        connection.sendall(EMPTY)
        connection.close()
        gone.set()

    with serving(close) as port:
        for _ in range(3):
            gone.clear()
            assert client.get(f"http://127.0.0.1:{port}/").status_code == 200
            assert gone.wait(5)


def test_a_guarded_client_makes_no_connection_inside() -> None:
    reached = Event()

    def notice(_: socket.socket, __: Event) -> None:
        reached.set()

    with (
        serving(notice) as port,
        build_client(concurrency=1, timeout_seconds=5, guard=AddressGuard()) as client,
    ):
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"):
            with pytest.raises(AddressForbidden):
                client.get(f"http://{host}:{port}/")

    assert not reached.is_set()


def test_a_guarded_client_may_go_where_it_is_allowed_to_by_name() -> None:
    with serving(answering(EMPTY)) as port:
        guard = AddressGuard((f"localhost:{port}",))
        with build_client(concurrency=1, timeout_seconds=5, guard=guard) as client:
            assert client.get(f"http://localhost:{port}/").status_code == 200
            with pytest.raises(AddressForbidden):
                client.get(f"http://127.0.0.1:{port}/")


def test_the_system_is_told_a_time_in_steps_and_never_less_than_is_left() -> None:
    with serving(silent) as port, open_socket("127.0.0.1", port, timeout=5) as opened:
        assert socket.socket.gettimeout(opened) == 5
        opened.settimeout(None)
        with deadline(9.99):
            opened.send(b"x")
            left = remaining()
        told = socket.socket.gettimeout(opened)
        assert left is not None
        assert told is not None
        assert told % STEP_SECONDS == 0
        assert left < told <= 10
        with deadline(0.9):
            opened.send(b"x")
        told = socket.socket.gettimeout(opened)
        assert told is not None
        assert told < 0.9


def test_the_earlier_of_two_deadlines_holds() -> None:
    with deadline(1), deadline(60):
        assert 0 < (remaining() or 0) <= 1
        assert (within(0.1), within(None) or 0) <= (0.1, 1)
    assert remaining() is None
    assert within(3) == 3
