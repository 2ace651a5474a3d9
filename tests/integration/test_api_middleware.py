"""What holds for every request: an id, a problem for whatever is wrong, a limit, a count."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.bodies import BodyLimits
from api.main import ROUTES
from api.middleware import RequestMiddleware
from api.server import HEAD_BYTES, LimitedHttpProtocol
from tests.support.api_server import PROMPT, ApiServer, problem, served, settings

LIMIT = 5000


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    with served(settings(redis_url, max_body_bytes=LIMIT)) as url:
        yield url


def dialed(url: str) -> socket.socket:
    """Connect to a served API, with a deadline for each read."""
    where = urlsplit(url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=20)


def read_all(opened: socket.socket) -> bytes:
    """Read until the server sends no more."""
    return opened.makefile("rb").read()


def head_of(api_server: ApiServer, *headers: str, line: str = "POST /v1/jobs HTTP/1.1") -> bytes:
    """Write the head of a request of the door's tenant."""
    usual = ("Host: h", f"Authorization: Bearer {api_server.credentials.api_key}")
    lines = (line, *usual, "Content-Type: application/json", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_an_idle_connection_is_kept_for_longer_than_clients_keep_theirs(url: str) -> None:
    # given
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        # when
        connection.settimeout(5.5)
        # then
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize("given", ["abc", "a.b_c-D9", "x" * 128])
def test_a_sane_request_id_comes_back(api_server: ApiServer, given: str) -> None:
    answer = api_server.client.get("/nowhere", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>", "a/b"])
def test_an_odd_request_id_is_replaced(api_server: ApiServer, given: str) -> None:
    answer = api_server.client.get("/healthz", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] not in {given, ""}


def test_every_request_has_an_id_of_its_own(api_server: ApiServer) -> None:
    found = {api_server.client.get("/healthz").headers["x-request-id"] for _ in range(20)}
    assert len(found) == 20


def test_an_unknown_path_is_a_problem(api_server: ApiServer) -> None:
    for path in ("/nowhere", "/v1/jobs/", "/v1//jobs", "/docs/", "/v1/jobs/a/b/c"):
        told = problem(api_server.client.get(path), 404, "not_found")
        assert "GET /docs lists all operations" in told["detail"]


def test_a_wrong_method_is_told_the_right_ones(api_server: ApiServer) -> None:
    answer = api_server.client.delete("/v1/jobs")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert api_server.client.put("/v1/jobs/x/cancel").headers["allow"] == "POST"


def test_head_answers_like_get_without_a_body(api_server: ApiServer) -> None:
    job = api_server.create()
    answer = api_server.client.head(f"/v1/jobs/{job['id']}")
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.content == b""


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json", "*/*"]
)
def test_a_body_that_is_not_said_to_be_json_is_refused(
    api_server: ApiServer, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = b'{"input":{"prompt":"p"}}'
    answer = api_server.client.post("/v1/jobs", content=body, headers=headers)
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("encoding", "status"),
    [("gzip", 415), ("identity, gzip", 415), ("", 202), ("Identity", 202), (",identity ,", 202)],
)
def test_a_compressed_body_is_refused(api_server: ApiServer, encoding: str, status: int) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    answer = api_server.client.post(
        "/v1/jobs", content=b'{"input":{"prompt":"p"}}', headers=headers
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/json;"]
)
def test_json_is_taken_however_it_is_said(api_server: ApiServer, content_type: str) -> None:
    headers = {"content-type": content_type}
    body = b'{"input":{"prompt":"p"}}'
    assert api_server.client.post("/v1/jobs", content=body, headers=headers).status_code == 202


def test_a_body_over_the_limit_is_refused(api_server: ApiServer) -> None:
    fits = {"input": {"prompt": "p" * 4000}}
    assert api_server.client.post("/v1/jobs", json=fits).status_code == 202
    answer = api_server.client.post("/v1/jobs", json={"input": {"prompt": "p" * LIMIT}})
    problem(answer, 413, "body_too_large")


def test_a_chunked_body_is_counted_as_it_comes(api_server: ApiServer) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"input":{"prompt":"'
        for _ in range(10):
            yield b"p" * 1000
        yield b'"}}'

    answer = api_server.client.post(
        "/v1/jobs", content=chunks(), headers={"content-type": "application/json"}
    )
    problem(answer, 413, "body_too_large")


def test_a_body_that_is_said_to_be_too_large_is_not_waited_for(api_server: ApiServer) -> None:
    parts = urlsplit(api_server.url)
    with socket.create_connection((parts.hostname, parts.port), 5) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {api_server.credentials.api_key}\r\n".encode()
            + b"Content-Length: 99999999\r\n\r\n"
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_requests_are_counted_by_route_and_not_by_path(api_server: ApiServer) -> None:
    for number in range(3):
        api_server.client.get(f"/v1/jobs/job_{number}")
    api_server.client.get("/secret-path")
    api_server.client.request("PROPFIND", "/healthz")
    text = api_server.client.get("/metrics").text
    assert (
        'darkroom_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}' in text
    )
    assert 'route="unmatched"' in text
    assert 'method="OTHER"' in text
    assert "secret-path" not in text
    assert "PROPFIND" not in text
    assert 'darkroom_jobs{status="queued"}' in text
    assert 'darkroom_http_requests_total{method="POST",route="/v1/jobs",status="503"}' in text


def test_an_error_of_ours_tells_nothing() -> None:
    app = FastAPI()
    app.add_middleware(RequestMiddleware, bodies=BodyLimits(10))

    @app.get("/broken")
    async def broken(request: Request) -> Response:
        raise RuntimeError(f"the secret of {request.url}")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get("/broken")

    answer = asyncio.run(ask())
    problem(answer, 500, "internal")
    assert "secret" not in answer.text


@pytest.mark.parametrize("code", ["invalid_request", "redis_down"])
def test_the_type_of_a_problem_can_be_looked_up(api_server: ApiServer, code: str) -> None:
    told = api_server.client.get(f"/problems/{code}").json()
    assert told["code"] == code
    assert told["title"]
    problem(api_server.client.get("/problems/nothing"), 404, "not_found")


def test_the_api_describes_itself(api_server: ApiServer) -> None:
    document = api_server.client.get("/openapi.json").json()
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    told = [route for route in ROUTES if route.include_in_schema]
    assert described == {(min(route.methods or ()), route.path_format) for route in told}
    create = document["paths"]["/v1/jobs"]["post"]
    assert create["requestBody"]["content"]["application/json"]["examples"]["sports car"]
    for status in ("401", "413", "415", "422", "429", "503"):
        content = create["responses"][status]["content"]
        assert set(content) == {"application/problem+json"}


def test_what_the_api_refers_to_is_there(api_server: ApiServer) -> None:
    text = api_server.client.get("/openapi.json").text
    names = set(httpx.Response(200, text=text).json()["components"]["schemas"])
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= names
    assert "HTTPValidationError" not in text


def test_the_example_of_the_description_is_accepted(api_server: ApiServer) -> None:
    document = api_server.client.get("/openapi.json").json()
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        assert api_server.client.post("/v1/jobs", json=example["value"]).status_code == 202
    assert api_server.client.post("/v1/jobs", json=PROMPT).status_code == 202


@pytest.mark.parametrize("begin", [b"x-more: ", b"a"], ids=["headers", "header"])
@pytest.mark.parametrize("end", [b"\r\n", b"a"], ids=["ended", "unended"])
def test_a_head_that_does_not_end_is_refused_in_words_that_can_be_read(
    url: str, begin: bytes, end: bytes
) -> None:
    piece = begin + b"a" * 8000 + end
    with dialed(url) as opened:
        opened.sendall(b"GET /healthz HTTP/1.1\r\nhost: h\r\nx-first: ")
        for _ in range(20_000_000 // len(piece)):
            opened.sendall(piece)
        assert read_all(opened).startswith(b"HTTP/1.1 400")


def test_a_head_may_be_long_and_come_in_pieces_again_and_again(url: str) -> None:
    where = urlsplit(url)
    head = b"HEAD /healthz HTTP/1.1\r\nhost: h\r\nx-long: %s\r\n\r\n" % (b"a" * (HEAD_BYTES // 2))
    with socket.create_connection((where.hostname, where.port), timeout=10) as opened:
        for _ in range(3):
            opened.sendall(head[:1000])
            opened.sendall(head[1000:])
            assert opened.recv(65536).startswith(b"HTTP/1.1 200")


def test_what_follows_a_body_is_not_kept_without_end(url: str) -> None:
    # given
    where = urlsplit(url)
    head = b"POST /v1/jobs HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=10) as opened:
        opened.sendall(head)
        assert opened.recv(65536).startswith(b"HTTP/1.1 401")
        # when
        trailers = b"x-more: %s\r\n" % (b"a" * HEAD_BYTES)
        with contextlib.suppress(OSError):
            for _ in range(100):
                opened.sendall(trailers)
        # then
        with contextlib.suppress(ConnectionResetError):
            while opened.recv(65536):
                pass


def test_a_body_in_chunks_may_be_longer_than_a_head(api_server: ApiServer, redis_url: str) -> None:
    chunk = b"%x\r\n%s\r\n" % (HEAD_BYTES, b" " * HEAD_BYTES)
    chosen = settings(redis_url, max_body_bytes=10 * HEAD_BYTES)
    with served(chosen) as url, dialed(url) as opened:
        opened.sendall(head_of(api_server, "transfer-encoding: chunked"))
        for _ in range(4):
            opened.sendall(chunk)
        opened.sendall(b"0\r\nx-sum: 1\r\n\r\n")
        opened.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
        answers = b""
        while b"HTTP/1.1 200" not in answers:
            answers += opened.recv(65536)
    assert answers.startswith(b"HTTP/1.1 422")


class Hasty(LimitedHttpProtocol):
    head_seconds = 0.5


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nhost:", b"HEAD /healthz HTTP/1.1\r\nhost: h\r\n\r\nGET /"]
)
def test_a_head_that_does_not_come_is_not_waited_for(redis_url: str, begun: bytes) -> None:
    with served(settings(redis_url), wire=Hasty) as url:
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), timeout=10) as opened:
            opened.sendall(begun)
            while opened.recv(65536):
                pass


def test_a_head_that_came_has_all_the_time_for_its_body_and_the_next(redis_url: str) -> None:
    with served(settings(redis_url), wire=Hasty) as url:
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), timeout=10) as opened:
            opened.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
            assert opened.recv(65536).startswith(b"HTTP/1.1 200")
            opened.settimeout(3 * Hasty.head_seconds)
            with pytest.raises(TimeoutError):
                opened.recv(1)
