"""An S3 server before a real one that lies on demand: about what it kept, and in what it sends.

Everything passes unchanged until a lie is set for a method:

    with lying_before(s3) as liar:
        liar.lie("PUT", keeps_half)              # to every PUT from now on
        liar.lie("GET", flipped, times=1)        # to the next GET only
        liar.stop_lying()

A lie is any function of the request and the real server to a reply; those below are the usual ones.
"""

import hashlib
import http.client
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tests.support.background import in_service
from tests.support.servers import S3Server

#: Headers that belong to a connection, or that are written here.
_OWN_HEADERS = frozenset({"content-length", "connection", "transfer-encoding", "date", "server"})
ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code></Error>'
PAGE = b"<!doctype html><title>Sign in</title><p>This network asks you to sign in."


class Request(NamedTuple):
    """What was asked; `path` with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered.

    `announced` is the Content-Length where it is not that of the body; `hangs` where the connection
    stays open without a further byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    announced: int | None = None
    hangs: bool = False

    def without(self, *names: str) -> "Reply":
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return replace(self, headers=kept)

    def with_header(self, name: str, value: str) -> "Reply":
        told = self.without(name.lower())
        return replace(told, headers={**told.headers, name: value})


Lie = Callable[[Request, S3Server], Reply]


@dataclass
class _Rule:
    lie: Lie
    times: int | None


class Liar:
    """Answers for a real S3 server; `requests` has the method and path of each request."""

    def __init__(self, s3: S3Server, port: int) -> None:
        self._s3 = s3
        self._rules: dict[str, _Rule] = {}
        self._lock = threading.Lock()
        self.port = port
        self.requests: list[str] = []
        #: how many lies were told
        self.lies = 0

    @property
    def server(self) -> S3Server:
        """The real server, at the liar's address."""
        return replace(self._s3, port=self.port)

    def lie(self, method: str, lie: Lie, *, times: int | None = None) -> None:
        """Answer requests of this method with a lie: the next `times`, or all."""
        with self._lock:
            self._rules[method] = _Rule(lie, times)

    def stop_lying(self) -> None:
        with self._lock:
            self._rules.clear()

    def answer(self, request: Request) -> Reply:
        lie = self._lie_for(request)
        return (lie or passed_on)(request, self._s3)

    def _lie_for(self, request: Request) -> Lie | None:
        with self._lock:
            self.requests.append(f"{request.method} {request.path}")
            rule = self._rules.get(request.method)
            if rule is None or rule.times == 0:
                return None
            rule.times = None if rule.times is None else rule.times - 1
            self.lies += 1
            return rule.lie


@contextmanager
def lying_before(s3: S3Server, *, port: int = 0) -> Iterator[Liar]:
    """Serve on `port` (0: a free one) for an S3 server that runs elsewhere."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        # HTTP/1.0: no connection outlives the answer, and so no lie the block
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                _write(self, liar.answer(_read(self)), over)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        liar = Liar(s3, server.server_port)
        server.daemon_threads = True
        with in_service(server):
            try:
                yield liar
            finally:
                over.set()


def _read(handler: BaseHTTPRequestHandler) -> Request:
    body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
    return Request(handler.command, handler.path, dict(handler.headers.items()), body)


def _write(handler: BaseHTTPRequestHandler, reply: Reply, over: threading.Event) -> None:
    handler.send_response_only(reply.status)
    for name, value in reply.headers.items():
        if name.lower() not in _OWN_HEADERS:
            handler.send_header(name, value)
    length = len(reply.body) if reply.announced is None else reply.announced
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(reply.body)
        handler.wfile.flush()
    if reply.hangs:
        over.wait(60)


# what the real server does -----------------------------------------------------------------------


def passed_on(request: Request, s3: S3Server) -> Reply:
    """Ask the real server; the signature holds, since no header is changed."""
    connection = http.client.HTTPConnection("127.0.0.1", s3.port, timeout=30)
    try:
        connection.putrequest(
            request.method, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body)
        answer = connection.getresponse()
        length = answer.headers.get("content-length")
        body = answer.read()
    finally:
        connection.close()
    headers = dict(answer.headers.items())
    announced = int(length) if request.method == "HEAD" and length else None
    return Reply(answer.status, headers, body, announced)


def _kept(request: Request, s3: S3Server, data: bytes) -> Reply:
    """Let the real server keep these bytes in place of those sent; reply as it does to them."""
    key = unquote(urlsplit(request.path).path).removeprefix(f"/{s3.bucket}/")
    written = s3.client().put_object(s3.bucket, key, io.BytesIO(data), len(data))
    return Reply(200, {"ETag": f'"{written.etag}"'}, b"")


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _with_a_bit_flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


# lies to a PUT -----------------------------------------------------------------------------------


def keeps_nothing(request: Request, s3: S3Server) -> Reply:
    return Reply(200, {}, b"")


def keeps_nothing_under_the_true_etag(request: Request, s3: S3Server) -> Reply:
    return Reply(200, {"ETag": _etag(request.body)}, b"")


def keeps_half(request: Request, s3: S3Server) -> Reply:
    return _kept(request, s3, request.body[: len(request.body) // 2])


def keeps_half_without_etag(request: Request, s3: S3Server) -> Reply:
    return keeps_half(request, s3).without("etag")


def keeps_other_bytes(request: Request, s3: S3Server) -> Reply:
    return _kept(request, s3, _with_a_bit_flipped(request.body))


def keeps_other_bytes_without_etag(request: Request, s3: S3Server) -> Reply:
    return keeps_other_bytes(request, s3).without("etag")


def damaged_on_the_way(request: Request, s3: S3Server) -> Reply:
    return passed_on(request._replace(body=_with_a_bit_flipped(request.body)), s3)


def error_in_a_200(request: Request, s3: S3Server) -> Reply:
    return Reply(200, {"Content-Type": "application/xml"}, ERROR)


def wrong_etag(request: Request, s3: S3Server) -> Reply:
    return passed_on(request, s3).with_header("ETag", _etag(b"something else"))


def error_with_a_true_etag(request: Request, s3: S3Server) -> Reply:
    return replace(passed_on(request, s3), body=ERROR)


# odd but honest answers to a PUT -----------------------------------------------------------------


def no_etag(request: Request, s3: S3Server) -> Reply:
    return passed_on(request, s3).without("etag")


def etag_of_parts(request: Request, s3: S3Server) -> Reply:
    return passed_on(request, s3).with_header("ETag", f'"{"0" * 32}-2"')


def etag_under_a_key_service(request: Request, s3: S3Server) -> Reply:
    """Answer as AWS does where it encrypts with a key of its key service: a random ETag."""
    reply = passed_on(request, s3).with_header("ETag", _etag(b"something else"))
    return reply.with_header("x-amz-server-side-encryption", "aws:kms")


def _etag_written(write: Callable[[str], str]) -> Lie:
    def lie(request: Request, s3: S3Server) -> Reply:
        return passed_on(request, s3).with_header("ETag", write(_etag(request.body)))

    return lie


weak_etag = _etag_written(lambda etag: f"W/{etag}")
upper_etag = _etag_written(str.upper)
bare_etag = _etag_written(lambda etag: etag.strip('"'))


# lies to a GET -----------------------------------------------------------------------------------


def _damaged(damage: Callable[[bytes], bytes], **how: Any) -> Lie:
    def lie(request: Request, s3: S3Server) -> Reply:
        reply = passed_on(request, s3)
        return replace(reply, body=damage(reply.body), **how)

    return lie


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


flipped = _damaged(_with_a_bit_flipped)
last_bit_flipped = _damaged(lambda data: data[:-1] + bytes([data[-1] ^ 1]))
half = _damaged(_half)
longer = _damaged(lambda data: data + b"more")
empty = _damaged(lambda _: b"")
page = _damaged(lambda _: PAGE)


def cut(request: Request, s3: S3Server) -> Reply:
    """Close the connection after half of what was announced."""
    reply = passed_on(request, s3)
    return replace(reply, body=_half(reply.body), announced=len(reply.body))


#: What a GET can answer in place of the object, at once.
DAMAGES = (flipped, last_bit_flipped, half, cut, longer, empty, page, error_in_a_200)


def hanging(request: Request, s3: S3Server) -> Reply:
    """Send half of what was announced, and then nothing."""
    return replace(cut(request, s3), hangs=True)


# other lies --------------------------------------------------------------------------------------


def length_of_another(request: Request, s3: S3Server) -> Reply:
    """Answer a HEAD with another length."""
    return replace(passed_on(request, s3).without("etag"), announced=1)


def deletes_nothing(request: Request, s3: S3Server) -> Reply:
    """Answer a POST that all was deleted, and delete nothing."""
    return Reply(200, {"Content-Type": "application/xml"}, b"<DeleteResult></DeleteResult>")


def page_in_a_200(request: Request, s3: S3Server) -> Reply:
    return Reply(200, {"Content-Type": "text/html"}, b"<html><p>Sign in</p></html>")
