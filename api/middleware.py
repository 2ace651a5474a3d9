"""Middleware around every request: id, headers, body limits, and the last-resort error handler."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache, partial
from math import inf

from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.bodies import SMALL_BYTES, BodyLimits
from api.cors import Cors, Pairs
from api.headers import IS_HEAD
from api.problems import Problem, Writer, answer, failure_of
from api.server import TENANT, TOO_SLOW
from shared import metrics
from shared.logs import log
from shared.tracing.context import logged, read_traceparent
from shared.tracing.spans import OFF, Span, Tracer

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: The scope entry of the request id.
REQUEST_ID = "darkroom.request_id"
#: The scope entry of the request's span and its trace; without tracing, those of the caller.
SPAN = "darkroom.span"
TRACE = "darkroom.trace"
#: The scope entry of the problem writer, which depends on the API of the path.
WRITER = "darkroom.writer"
#: Paths polled by machines are not traced.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
#: nginx' status for a client that disconnected before the response; it is counted, never sent.
CLIENT_LEFT = 499
_FAILED = 500
#: Headers that may appear only once: with two different values, no choice is right (RFC 9110, 5.3).
_SINGLE = frozenset(
    {
        *(b"authorization", b"content-length", b"content-type", b"host", b"if-range"),
        *(b"last-event-id", b"origin", b"range", b"x-stainless-retry-count"),
    }
)
#: The request headers read here.
_READ = _SINGLE | {
    *(b"access-control-request-headers", b"access-control-request-method", b"expect"),
    *(b"traceparent", b"transfer-encoding", b"x-request-id"),
}
#: The largest rest of a body that is read and discarded after a response, so that the connection
#: can be reused.
_REST_BYTES = 64 * 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = log(__name__)


class PrefixMiddleware:
    """Strip the path prefix: uvicorn's `--root-path`, or our own."""

    def __init__(self, app: ASGIApp, *, prefix: str = "") -> None:
        """Wrap `app`; `prefix` is stripped from paths unless a proxy already stripped it."""
        self._app = app
        self._prefix = prefix
        self._unstripped = f"{prefix}/" if prefix else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            if scope.get("root_path"):
                scope["path"] = scope["path"].removeprefix(scope["root_path"])
                scope["root_path"] = ""
            if self._unstripped and scope["path"].startswith(self._unstripped):
                scope["path"] = scope["path"].removeprefix(self._prefix)
        await self._app(scope, receive, send)


class RequestMiddleware:
    """Plain ASGI middleware; every error inside becomes a problem response."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        bodies: BodyLimits,
        dialects: Mapping[str, Writer] | None = None,
        tracer: Tracer = OFF,
        cors: Cors | None = None,
        prefix: str = "",
    ) -> None:
        """Wrap `app`; refuse a body over the limit of its path without reading the rest.

        `dialects` maps path prefixes to their problem writers. `prefix` is the path prefix a proxy
        strips; it is prepended to `Location` headers.
        """
        self._app = app
        self.bodies = bodies
        self._dialects = dialects or {}
        self._own_writer: Writer = partial(answer, prefix=prefix)
        self._tracer = tracer
        self.cors = cors or Cors(())
        self.prefix = prefix.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", IS_HEAD: True}
        exchange = _Exchange(self, scope, receive, send)
        tracer = OFF if scope["path"] in _UNTRACED else self._tracer
        with tracer.serve(scope["method"], scope[TRACE]) as span:
            exchange.begin(span)
            try:
                await self._serve(scope, exchange)
            finally:
                exchange.end()

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            scope[WRITER] = self._writer(scope["path"])
            exchange.check()
            preflight = exchange.preflight()
            await (preflight or self._app)(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_LEFT
        except Exception as error:  # noqa: BLE001  the last resort of every request
            await exchange.fail(error)

    def _writer(self, path: str) -> Writer:
        for start, writer in self._dialects.items():
            if path.startswith(start):
                return writer
        return self._own_writer


class _Exchange:
    """One request and its response."""

    def __init__(self, edge: RequestMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._edge = edge
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_body_bytes = edge.bodies.largest(scope["path"])
        self._read_bytes = 0
        self._held_bytes = 0
        self._tenant = ""
        self._started_at = time.perf_counter()
        self._headers, self._repeated = _read(scope["headers"])
        self._rest: float = _length(self._headers)
        self._id = _named(self._headers)
        scope[TRACE] = _traced(self._headers, self._repeated)
        self.status = 0
        scope[REQUEST_ID] = self._id.decode()

    def begin(self, span: Span) -> None:
        """Bind the request id to the logs of this request."""
        self._scope[SPAN] = self._span = span
        trace = self._scope[TRACE] = span.traceparent or self._scope[TRACE]
        # a task has its own context, except for what a pipelining client sent before
        clear_contextvars()
        bind_contextvars(request_id=self._scope[REQUEST_ID], **logged(trace))

    def check(self) -> None:
        """Refuse a declared size over the limit, and contradicting headers."""
        for name in self._repeated and self._repeated & _SINGLE:
            text = f"The header {name.decode('latin-1')} was sent twice. Send it once."
            raise Problem("header_repeated", text)
        if b"content-length" in self._headers and self._rest > self._max_body_bytes:
            raise self._too_large()

    def preflight(self) -> Response | None:
        """Respond to a CORS preflight; return None for every other request."""
        if b"access-control-request-method" not in self._headers:
            return None
        wanted = self._headers.get(b"access-control-request-headers")
        return self._edge.cors.preflight(self._scope, self._headers.get(b"origin"), wanted)

    async def receive(self) -> Message:
        """Pass on the next part of the body; count it, whatever its declared length."""
        message = await self._receive()
        size = len(message.get("body", b""))
        if not message.get("more_body"):
            self._rest = 0
        elif size:
            self._rest -= size
        elif TOO_SLOW in self._scope:
            raise self._too_slow()
        if size:
            self._hold(size)
        return message

    def _hold(self, size: int) -> None:
        """Count what was read; refuse too much of it."""
        self._read_bytes += size
        if self._read_bytes > self._max_body_bytes:
            raise self._too_large()
        if self._read_bytes > SMALL_BYTES:
            if not self._held_bytes:
                self._tenant = self._scope.get(TENANT, "")
            self._edge.bodies.add(self._read_bytes - self._held_bytes, self._tenant)
            self._held_bytes = self._read_bytes
            self._edge.bodies.check(self._tenant)

    async def send(self, message: Message) -> None:
        """Pass on the response, with the request id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            origins = self._edge.cors.headers(self._scope, self._headers.get(b"origin"))
            headers = [*message["headers"], (b"x-request-id", self._id), *origins]
            if self._rest:
                headers += self._ending()
            prefix = self._edge.prefix
            message["headers"] = _moved(headers, prefix) if prefix else headers
        await self._send(message)

    def _ending(self) -> Pairs:
        """Close the connection if more of the body is left than is worth reading."""
        is_left = self._rest > _REST_BYTES or (self._rest and b"expect" in self._headers)
        # a client that waits for `100 Continue` may send its body after this response or not
        return ((b"connection", b"close"),) if is_left else ()

    async def fail(self, error: Exception) -> None:
        """Respond with a problem; if the response has started, it stays incomplete."""
        if self.status:
            # Starlette raises its own error over one that a handler would have answered
            cause = error.__cause__ if isinstance(error, RuntimeError) else None
            problem = failure_of(cause or error)
            if problem.code != "internal":
                _log.warning("response aborted", reason=problem.detail)
            return
        response = self._scope[WRITER](failure_of(error), self._scope[REQUEST_ID])
        await response(self._scope, self._receive, self.send)

    def end(self) -> None:
        """Release the body's bytes, and count the request."""
        if self._held_bytes:
            self._edge.bodies.remove(self._held_bytes, self._tenant)
        self._count()

    def _count(self) -> None:
        """Add this request to the metrics, under its route's template."""
        route = getattr(self._scope.get("route"), "path_format", "unmatched")
        method = "HEAD" if IS_HEAD in self._scope else self._scope["method"]
        method = method if method in _METHODS else "OTHER"
        status = self.status or CLIENT_LEFT
        requests, seconds = _counted(route, method, status)
        requests.inc()
        seconds.observe(time.perf_counter() - self._started_at)
        self._span.rename(f"{method} {route}")
        self._span.note(
            method=method, route=route, status=status, request_id=self._scope[REQUEST_ID]
        )
        if status >= _FAILED:
            self._span.fail(str(status))

    def _too_large(self) -> Problem:
        text = f"The request body may have at most {self._max_body_bytes:,} bytes."
        return Problem("body_too_large", text)

    def _too_slow(self) -> Problem:
        self._rest = inf  # not waited for, however small it is
        return Problem("request_too_slow", f"{self._scope[TOO_SLOW]} Nothing was accepted.")


@cache
def _counted(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Return the metrics of one kind of response, cached because the lookup is expensive."""
    return (
        metrics.HTTP_REQUESTS.labels(route, method, str(status)),
        metrics.HTTP_REQUEST_SECONDS.labels(route),
    )


def _read(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], AbstractSet[bytes]]:
    """Return the first value of each header that is read here, and those that came twice."""
    pairs = [pair for pair in headers if pair[0] in _READ]
    found = dict(reversed(pairs))
    if len(found) == len(pairs):
        return found, frozenset()
    names = [name for name, _ in pairs]
    return found, {name for name in found if names.count(name) > 1}


def _length(headers: Mapping[bytes, bytes]) -> float:
    """Return the declared length of the body; infinite if undeclared."""
    if b"transfer-encoding" in headers:
        return inf
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _named(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the request id: the caller's own if it is valid."""
    request_id = headers.get(b"x-request-id", b"")
    return request_id if _SANE_ID.fullmatch(request_id) else secrets.token_hex(12).encode()


def _traced(headers: Mapping[bytes, bytes], repeated: AbstractSet[bytes]) -> str | None:
    """Return the trace that the request names."""
    if b"traceparent" not in headers or b"traceparent" in repeated:
        return None
    return read_traceparent(headers[b"traceparent"].decode("latin-1"))


def _moved(headers: Iterable[tuple[bytes, bytes]], prefix: bytes) -> list[tuple[bytes, bytes]]:
    """Prepend the prefix to a `Location` on this host."""
    return [
        (name, prefix + value if name == b"location" and value.startswith(b"/") else value)
        for name, value in headers
    ]
