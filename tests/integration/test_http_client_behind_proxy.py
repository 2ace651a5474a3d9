"""What comes behind an answer is never the answer to the next request."""

import socket
import ssl
from threading import Event

import pytest

from shared.net.http_client import build_client
from shared.net.sockets import Egress
from tests.integration.loopback import Script, serving

NO = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


def saying(first: bytes) -> Script:
    """Answer the first request of all so, and every other with no."""
    answers = [first]

    def script(connection: socket.socket, _: Event) -> None:
        while connection.recv(65536):
            connection.sendall(answers.pop() if answers else NO)

    return script


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (NO + YES, 500),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n" + YES, 500),
        (b"HTTP/1.1 204 No Content\r\n\r\nsurplus", 204),
        (YES + b"\r\n", 200),
    ],
    ids=["another answer", "another after chunks", "a body with 204", "an empty line"],
)
def test_what_comes_behind_an_answer_does_not_answer_the_next_request(
    first: bytes, status: int
) -> None:
    with serving(saying(first)) as port, build_client(concurrency=1, timeout_seconds=5) as client:
        url = f"http://127.0.0.1:{port}/"
        assert client.get(url).status_code == status
        assert client.get(url).status_code == 500


def test_nor_does_the_rest_of_a_tls_record_whose_start_was_all_that_is_read_of_an_answer(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = certificates
    head = b"HTTP/1.1 500 No\r\nContent-Length: 900\r\n\r\n"
    answer = head + b"x" * 900
    with (
        serving(saying(answer + YES), tls=theirs) as port,
        build_client(
            concurrency=1, timeout_seconds=5, egress=Egress(tls=ours), answer_bytes=len(answer)
        ) as client,
    ):
        url = f"https://localhost:{port}/"
        assert [client.get(url).status_code for _ in range(2)] == [500, 500]
