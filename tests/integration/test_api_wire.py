"""HTTP/1.1 as it comes from the socket: offers, blanks, bodies that nobody waits for, pace."""

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from api.server import LimitedHttpProtocol, UnreadResponses
from sandbox.wait import wait_until
from tests.support.api_server import ApiServer, problem, served, settings, tenant_at

BODY = b'{"input":{"prompt":"p"}}'


class Hasty(LimitedHttpProtocol):
    """Loses its patience soon, so that a test need not wait for it."""

    pace_seconds = 0.5
    stall_seconds = 0.5


@pytest.fixture
def hasty(empty_redis_url: str) -> Iterator[ApiServer]:
    with (
        served(settings(empty_redis_url), wire=Hasty) as url,
        tenant_at(url, empty_redis_url) as api_server,
    ):
        yield api_server


def dial(url: str) -> socket.socket:
    where = urlsplit(url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=20)


def head(api_server: ApiServer, line: str, *headers: str, key: str = "") -> bytes:
    """Write the head of a request of the door's tenant, or with another key."""
    usual = ("Host: h", f"Authorization: Bearer {key or api_server.credentials.api_key}")
    lines = (line, *usual, "Content-Type: application/json", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def create(api_server: ApiServer, *headers: str) -> bytes:
    return (
        head(api_server, "POST /v1/jobs HTTP/1.1", f"Content-Length: {len(BODY)}", *headers) + BODY
    )


def ask(url: str, *pieces: bytes) -> http.client.HTTPResponse:
    """Send pieces, and read the first answer."""
    with dial(url) as opened:
        for piece in pieces:
            opened.sendall(piece)
        answer = http.client.HTTPResponse(opened)
        answer.begin()
        return answer


def read_all(opened: socket.socket) -> bytes:
    """Read until the server sends no more."""
    return opened.makefile("rb").read()


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.0", "h2c, websocket", "HTTP/3.0"])
def test_an_offer_to_upgrade_is_ignored(api_server: ApiServer, offer: str) -> None:
    offered = (
        f"Upgrade: {offer}",
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAMAAAB",
    )
    answer = ask(api_server.url, create(api_server, *offered))
    assert answer.status == 202


def test_what_follows_an_offer_is_read_like_anything_else(api_server: ApiServer) -> None:
    # given requests in a row, each with an offer, of all kinds of bodies
    offer = ("Connection: upgrade", "Upgrade: h2c")
    chunked = head(api_server, "POST /v1/jobs HTTP/1.1", "Transfer-Encoding: chunked", *offer)
    whole = create(api_server, *offer) + chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    whole += head(api_server, "GET /v1/jobs HTTP/1.1", *offer)
    whole += head(api_server, "HEAD /healthz HTTP/1.1", "Connection: close")
    # when they come in pieces of any size
    for size in (7, 100, len(whole)):
        with dial(api_server.url) as opened:
            for at in range(0, len(whole), size):
                opened.sendall(whole[at : at + size])
            answers = read_all(opened)
        # then
        assert answers.count(b"HTTP/1.1 202") == 2
        assert answers.count(b"HTTP/1.1 200") == 2


def test_a_tunnel_is_not_opened(api_server: ApiServer) -> None:
    with dial(api_server.url) as opened:
        opened.sendall(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n" + BODY)
        assert read_all(opened).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("rest", [b"\0", b"}", b"GET\r\n\r\n", b"x" * 200_000])
def test_what_is_no_request_does_not_replace_the_response_before_it(
    api_server: ApiServer, rest: bytes
) -> None:
    chunks = head(api_server, "POST /v1/jobs HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n"
    for further in (rest, create(api_server) + rest, chunks):
        with dial(api_server.url) as opened:
            opened.sendall(create(api_server) + further)
            answers = read_all(opened)
        assert answers.startswith(b"HTTP/1.1 202")
        assert b"HTTP/1.1 400" not in answers
        assert answers.count(b"HTTP/1.1 202") == 1 + further.count(BODY)
        assert answers.lower().count(b"\r\nconnection: close\r\n") == 1


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("GET /v1/jobs?q=Gr\u00f6\u00dfe HTTP/1.1", "its URL is invalid"),
        ("GET http:///v1/jobs HTTP/1.1", "its URL is invalid"),
        ("GET /v1/jobs HTTP/1.1\r\nName : value", "Invalid header token"),
        ("GET /v1/jobs HTTP/1.1\r\nName: " + "a" * 700_000, "at most 65,536 bytes"),
    ],
)
def test_a_malformed_request_is_refused_with_a_reason(
    api_server: ApiServer, line: str, detail: str
) -> None:
    answer = ask(api_server.url, line.encode() + b"\r\nHost: h\r\n\r\n")
    body = json.loads(answer.read())
    assert (answer.status, body["status"], body["code"]) == (400, 400, "malformed_request")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == body["request_id"]
    assert detail in body["detail"]


def test_a_malformed_body_is_refused_at_once(api_server: ApiServer) -> None:
    with dial(api_server.url) as opened:
        line = "POST /v1/jobs HTTP/1.1"
        opened.sendall(head(api_server, line, "Transfer-Encoding: chunked") + b"zz\r\n")
        assert read_all(opened).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("blank", [" ", "\t", " \t "])
def test_blanks_around_the_value_of_a_header_do_not_count(
    api_server: ApiServer, blank: str
) -> None:
    marked = (f"Idempotency-Key:{blank}k-1{blank}", f"X-Request-Id:{blank}r-1{blank}")
    answers = [
        ask(api_server.url, create(api_server, *marked)),
        ask(api_server.url, create(api_server, "Idempotency-Key: k-1")),
    ]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].headers["x-request-id"] == "r-1"
    job_id = answers[1].headers["location"].rpartition("/")[2]
    assert answers[1].headers["idempotent-replayed"] == "true"
    line = f"GET /v1/jobs/{job_id}/events HTTP/1.1"
    answer = ask(api_server.url, head(api_server, line, f"Last-Event-ID:{blank}1{blank}"))
    assert answer.status == 200


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer {key}",
        "Authorization: Bearer dk_other",
        "Content-Type: text/plain",
        "Host: other",
        "Last-Event-ID: 3",
        "Range: bytes=0-1",
        "If-Range: x",
    ],
)
def test_a_header_that_decides_and_stands_twice_is_refused(
    api_server: ApiServer, header: str
) -> None:
    written = header.format(key=api_server.credentials.api_key)
    twice = (written, written) if header.startswith(("Last", "Range", "If")) else (written,)
    with dial(api_server.url) as opened:
        opened.sendall(create(api_server, *twice))
        answer = http.client.HTTPResponse(opened)
        answer.begin()
        assert answer.status == 400
        assert json.loads(answer.read())["code"] == "header_repeated"


def test_conditions_in_two_lines_are_one_list(api_server: ApiServer) -> None:
    job = api_server.create()
    line = f"HEAD /v1/jobs/{job['id']} HTTP/1.1"
    answer = ask(
        api_server.url, head(api_server, line, 'If-None-Match: "x"', 'If-None-Match: W/"1"')
    )
    assert answer.status == 304


@pytest.mark.parametrize("name", ["manifest", "manifest?format=zip"])
def test_a_streamed_answer_for_http_1_0_ends_with_the_connection(
    api_server: ApiServer, name: str
) -> None:
    batch = api_server.client.post("/v1/batches", json={"jobs": [json.loads(BODY)]}).json()
    line = f"GET /v1/batches/{batch['id']}/{name}"
    with dial(api_server.url) as opened:
        opened.sendall(head(api_server, f"{line} HTTP/1.0", "Connection: keep-alive"))
        told, _, body = read_all(opened).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in told.lower()
    assert b"connection: close" in told.lower()
    assert len(body) == len(api_server.client.get(line.removeprefix("GET ")).content)


def test_http_1_0_is_told_no_100_continue(api_server: ApiServer) -> None:
    line = head(
        api_server, "POST /v1/jobs HTTP/1.0", f"Content-Length: {len(BODY)}", "Expect: 100-continue"
    )
    with dial(api_server.url) as opened:
        opened.sendall(line + BODY)
        assert read_all(opened).startswith(b"HTTP/1.1 202")


@pytest.mark.parametrize(
    ("method", "path", "key", "media", "status"),
    [
        ("POST", "/v1/jobs", "", "application/json", 413),
        ("POST", "/v1/jobs", "dk_wrong", "application/json", 401),
        ("POST", "/v1/jobs", "", "text/plain", 415),
        ("POST", "/nowhere", "", "application/json", 404),
        ("PUT", "/v1/jobs", "", "application/json", 405),
        ("GET", "/healthz", "", "application/json", 200),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_answer_that_did_not_wait_for_a_long_body_can_be_read(
    api_server: ApiServer,
    method: str,
    path: str,
    key: str,
    media: str,
    status: int,
    *,
    is_chunked: bool,
) -> None:
    # given a client that reads only when all is sent
    where = urlsplit(api_server.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    headers = {
        "Authorization": f"Bearer {key or api_server.credentials.api_key}",
        "Content-Type": media,
    }
    piece = b"x" * 100_000
    # one that says itself that it is too large is told that, whatever else is wrong
    pieces = [piece] * (200 if is_chunked or status == 413 else 9)
    body = iter(pieces) if is_chunked else b"".join(pieces)
    # when
    connection.request(method, path, body, headers, encode_chunked=is_chunked)
    # then
    answer = connection.getresponse()
    assert answer.status == status
    answer.read()
    assert answer.headers["connection"] == "close"
    connection.close()


def test_a_short_body_that_nobody_reads_costs_no_connection(api_server: ApiServer) -> None:
    line = "GET /v1/jobs HTTP/1.1"
    with dial(api_server.url) as opened:
        opened.sendall(head(api_server, line, f"Content-Length: {len(BODY)}"))
        told = opened.recv(65536)
        opened.sendall(BODY[:5])
        opened.sendall(BODY[5:] + create(api_server, "Connection: close"))
        told += read_all(opened)
    assert told.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 202" in told


def test_a_client_that_waits_to_be_told_to_continue_is_told_that_the_connection_ends(
    api_server: ApiServer,
) -> None:
    waits = (f"Content-Length: {len(BODY)}", "Expect: 100-continue")
    with dial(api_server.url) as opened:
        opened.sendall(head(api_server, "POST /nowhere HTTP/1.1", *waits))
        told = read_all(opened)
    assert told.startswith(b"HTTP/1.1 404")
    assert b"connection: close" in told


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/openai/v1/images/generations"])
@pytest.mark.parametrize("sent", [b"", b'{"in'])
def test_a_body_that_comes_too_slowly_is_cut_off(hasty: ApiServer, path: str, sent: bytes) -> None:
    with dial(hasty.url) as opened:
        opened.sendall(head(hasty, f"POST {path} HTTP/1.1", "Content-Length: 999") + sent)
        told, _, body = read_all(opened).partition(b"\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in told
    assert b"request_too_slow" in body
    assert b"5,000 bytes of a body must arrive in 10 seconds" in body


class Brief(Hasty):
    """Waits for a whole body no longer than two periods."""

    body_paces = 2


def test_a_body_that_takes_too_long_in_all_is_told_so(empty_redis_url: str) -> None:
    with (
        served(settings(empty_redis_url), wire=Brief) as url,
        tenant_at(url, empty_redis_url) as api_server,
        dial(url) as opened,
    ):
        line = "POST /v1/batches HTTP/1.1"
        opened.sendall(head(api_server, line, "Content-Length: 30000000") + b'{"jobs":[')

        def is_answered() -> bool:
            opened.sendall(b" " * 6_000)
            return bool(select.select([opened], [], [], 0)[0])

        wait_until(is_answered, "the answer")
        answer = http.client.HTTPResponse(opened)
        answer.begin()
        assert answer.status == 408
        assert json.loads(answer.read())["detail"].startswith(
            "A body must arrive within 10 minutes in all."
        )


def test_a_body_that_goes_on_byte_by_byte_is_cut_off(hasty: ApiServer) -> None:
    with dial(hasty.url) as opened:
        opened.sendall(head(hasty, "POST /v1/batches HTTP/1.1", "Content-Length: 999999"))
        opened.sendall(b'{"jobs":[' + b" " * 100_000)
        assert drip(opened).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("length", [999, 999_999])
def test_a_body_behind_its_answer_ends_too(hasty: ApiServer, length: int) -> None:
    with dial(hasty.url) as opened:
        wrong = head(hasty, "POST /v1/jobs HTTP/1.1", f"Content-Length: {length}", key="dk_none")
        opened.sendall(wrong)
        assert drip(opened).startswith(b"HTTP/1.1 401")


def drip(opened: socket.socket) -> bytes:
    """Send a byte now and then until the server ends the connection; return what it said."""
    opened.settimeout(0.05)
    said, deadline = b"", time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            opened.sendall(b" ")
            part = opened.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return said
        if not part:
            opened.settimeout(20)
            wait_until(lambda: is_gone(opened), "the connection to be ended")
            return said
        said += part
    pytest.fail("the connection goes on")


def is_gone(opened: socket.socket) -> bool:
    try:
        opened.sendall(b" ")
    except OSError:
        return True
    return False


def test_a_client_that_does_not_take_its_answer_is_left(
    hasty: ApiServer,
) -> None:
    # given answers that no buffer between here and there holds
    with dial(hasty.url) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asked = head(hasty, "GET /openapi.json HTTP/1.1")
        for _ in range(200):
            opened.sendall(asked)
        # then
        wait_until(lambda: is_gone(opened), "the connection to be ended")


class Compact(LimitedHttpProtocol):
    """Holds no more than two responses of 6 MB that nobody reads."""

    unread = UnreadResponses(13_000_000)


def test_one_tenant_may_not_fill_the_memory_with_unread_responses(empty_redis_url: str) -> None:
    jobs = json.dumps({"jobs": [{"input": {"prompt": "海" * 10_000}}] * 200}).encode()
    with (
        served(settings(empty_redis_url), wire=Compact) as url,
        tenant_at(url, empty_redis_url) as api_server,
        tenant_at(url, empty_redis_url) as other,
        ExitStack() as stack,
    ):
        for one in (api_server, other):
            assert batch(one, jobs).status_code == 202

        def leave_unread(tenant: ApiServer) -> socket.socket:
            opened = stack.enter_context(dial(url))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            opened.sendall(head(tenant, "GET /v1/jobs?limit=200 HTTP/1.1", "Connection: close"))
            assert select.select([opened], [], [], 20)[0]
            return opened

        # given an unread response of one tenant, and more of another than may be held; of each,
        # the kernel has a part
        patient = leave_unread(other)
        greedy = [leave_unread(api_server) for _ in range(8)]
        # then the oldest of the latter ends early, and the others arrive whole
        for opened in (patient, greedy[-1]):
            assert len(read_all(opened)) > 6_000_000
        assert len(read_all(greedy[0])) < 6_000_000


def test_one_tenant_may_not_fill_the_memory_with_bodies(empty_redis_url: str) -> None:
    limits = {"max_held_bytes": 4_000_000, "max_tenant_held_bytes": 2_000_000}
    part = b'{"jobs":[' + b'{"input":{"prompt":"%s"}},' % (b"p" * 1000) * 1300
    with (
        served(settings(empty_redis_url, max_batch_bytes=1_500_000, **limits)) as url,
        tenant_at(url, empty_redis_url) as api_server,
        tenant_at(url, empty_redis_url) as other,
    ):
        # given two bodies that are held, and are together more than may be
        with dial(url) as first, dial(url) as second:
            line = "POST /v1/batches HTTP/1.1"
            for one in (first, second):
                one.sendall(head(api_server, line, f"Content-Length: {len(part) + 9}") + part)
            # then one of them is told when to come again
            refused = select.select([first, second], [], [], 20)[0]
            assert len(refused) == 1
            told = read_all(refused[0])
            assert told.startswith(b"HTTP/1.1 503")
            assert b"retry-after: " in told
            assert b"too_many_uploads" in told
            # but small ones pass, and so do those of others
            assert api_server.client.post("/v1/jobs", json=json.loads(BODY)).status_code == 202
            problem(batch(other, part), 422, "invalid_request")
        # and once they have gone the next passes
        wait_until(lambda: batch(api_server, part).status_code == 422, "the bodies to be let go")


def batch(api_server: ApiServer, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return api_server.client.post("/v1/batches", content=body, headers=headers)
