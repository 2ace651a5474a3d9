"""What happens around every request: its id, its headers, its body's limits, its last resort."""

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
from api.server import PACE_BYTES, PACE_SECONDS, TOO_SLOW
from shared import metrics
from shared.logs import log
from shared.tracing.context import logged, read_traceparent
from shared.tracing.spans import OFF, Span, Tracer

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: Where the request's id stands in the scope.
REQUEST_ID = "darkroom.request_id"
#: Where the step of a trace stands that serves the request, and the trace that it belongs to: the
#: caller's own where we make none.
SPAN = "darkroom.span"
TRACE = "darkroom.trace"
#: Where what writes problems stands, by the dialect of the path.
WRITER = "darkroom.writer"
#: Where the tenant's name stands, once its key was checked.
TENANT = "darkroom.tenant"
#: What is asked for again and again by machines is in no trace.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
#: nginx' word for a client that left before its answer; it is counted, never sent.
CLIENT_LEFT = 499
_FAILED = 500
#: What stands in a request once: of two that differ, no choice is right (RFC 9110, 5.3).
_SINGLE = frozenset(
    {
        *(b"authorization", b"content-length", b"content-type", b"host", b"if-range"),
        *(b"last-event-id", b"origin", b"range", b"x-stainless-retry-count"),
    }
)
#: What is read here of a request's headers.
_READ = _SINGLE | {
    *(b"access-control-request-headers", b"access-control-request-method", b"expect"),
    *(b"traceparent", b"transfer-encoding", b"x-request-id"),
}
#: The rest of a body that is read and thrown away behind an answer, so that the connection can
#: serve the next request.
_REST_BYTES = 64 * 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = log(__name__)


class PrefixMiddleware:
    """Takes away what stands in front of the path: uvicorn's `--root-path`, or our prefix."""

    def __init__(self, app: ASGIApp, *, prefix: str = "") -> None:
        """Wrap `app`; `prefix` is what begins a path where no proxy took it away."""
        self._app = app
        self._prefix = prefix
        self._unstripped = f"{prefix}/" if prefix else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            if scope.get("root_path"):
                scope["path"] = scope["path"].removeprefix(scope["root_path"])
                scope["root_path"] = ""
            if self._unstripped and scope["path"].startswith(self._unstripped):
                scope["path"] = scope["path"].removeprefix(self._prefix)
        await self._app(scope, receive, send)


class RequestMiddleware:
    """Plain ASGI middleware; whatever is wrong inside leaves as a problem."""

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
        """Wrap `app`; a body over the limit of its path is refused before more of it is read.

        `dialects` has what writes problems under each beginning of a path that has its own way.
        `prefix` is what a proxy takes from the front of
        each path: it is put in front of a `Location` again.
        """
        self._app = app
        self.bodies = bodies
        self._dialects = dialects or {}
        self._own_writer: Writer = partial(answer, prefix=prefix)
        self._tracer = tracer
        self.cors = cors or Cors(())
        self.prefix = prefix.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
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
    """One request and its answer, as they pass by."""

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
        """Let all that is told of this request name it."""
        self._scope[SPAN] = self._span = span
        trace = self._scope[TRACE] = span.traceparent or self._scope[TRACE]
        # a task of its own has a context of its own, but for what a pipelining client sent before
        clear_contextvars()
        bind_contextvars(request_id=self._scope[REQUEST_ID], **logged(trace))

    def check(self) -> None:
        """Refuse what says itself that it is too large, or says two things at once."""
        for name in self._repeated and self._repeated & _SINGLE:
            text = f"The header {name.decode('latin-1')} was sent twice. Send it once."
            raise Problem("header_repeated", text)
        if b"content-length" in self._headers and self._rest > self._max_body_bytes:
            raise self._too_large()

    def preflight(self) -> Response | None:
        """Answer a browser that asks whether it may send; None for every other request."""
        if b"access-control-request-method" not in self._headers:
            return None
        wanted = self._headers.get(b"access-control-request-headers")
        return self._edge.cors.preflight(self._scope, self._headers.get(b"origin"), wanted)

    async def receive(self) -> Message:
        """Hand on the next part of the body; whatever was said of its length, it is counted."""
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
        """Hand on the answer, with the request's id."""
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
        """Say that the connection ends, where more of the body is left than is read in passing."""
        is_left = self._rest > _REST_BYTES or (self._rest and b"expect" in self._headers)
        # a client that waits for `100 Continue` may send its body after this answer or not
        return ((b"connection", b"close"),) if is_left else ()

    async def fail(self, error: Exception) -> None:
        """Answer with a problem; where the answer has begun, it stays unfinished."""
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
        """Let go of the body, and count the request."""
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
        text = f"The largest body that is taken here has {self._max_body_bytes:,} bytes."
        return Problem("body_too_large", text)

    def _too_slow(self) -> Problem:
        self._rest = inf  # not waited for, however little it is
        text = (
            f"Each {PACE_SECONDS:.0f} seconds of a body have to bring {PACE_BYTES:,} bytes of it."
        )
        return Problem("request_too_slow", f"{text} Nothing was accepted.")


@cache
def _counted(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Give the metrics of one kind of answer: finding them costs more than counting."""
    return (
        metrics.HTTP_REQUESTS.labels(route, method, str(status)),
        metrics.HTTP_REQUEST_SECONDS.labels(route),
    )


def _read(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], AbstractSet[bytes]]:
    """Return the first value of each header that is read here, and which came again."""
    pairs = [pair for pair in headers if pair[0] in _READ]
    found = dict(reversed(pairs))
    if len(found) == len(pairs):
        return found, frozenset()
    names = [name for name, _ in pairs]
    return found, {name for name in found if names.count(name) > 1}


def _length(headers: Mapping[bytes, bytes]) -> float:
    """Return how many bytes the body will have; without end where nothing says so."""
    if b"transfer-encoding" in headers:
        return inf
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _named(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the request's id: the caller's own if that is sane."""
    request_id = headers.get(b"x-request-id", b"")
    return request_id if _SANE_ID.fullmatch(request_id) else secrets.token_hex(12).encode()


def _traced(headers: Mapping[bytes, bytes], repeated: AbstractSet[bytes]) -> str | None:
    """Return the trace that the request is part of, if it names one."""
    if b"traceparent" not in headers or b"traceparent" in repeated:
        return None
    return read_traceparent(headers[b"traceparent"].decode("latin-1"))


def _moved(headers: Iterable[tuple[bytes, bytes]], prefix: bytes) -> list[tuple[bytes, bytes]]:
    """Put the prefix in front of a `Location` on this host."""
    return [
        (name, prefix + value if name == b"location" and value.startswith(b"/") else value)
        for name, value in headers
    ]
