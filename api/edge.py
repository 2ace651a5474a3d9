"""What happens around every request: its id, the limit of its body, its count, its last resort."""

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.problems import Problem, answer, problem_of
from shared import metrics
from shared.errors import StoreError
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
#: What is asked for again and again by machines is in no trace.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
#: nginx' word for a client that left before its answer; it is counted, never sent.
CLIENT_LEFT = 499
_FAILED = 500
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Writes a problem, with the request's id.
Writer = Callable[[Problem, str], Response]

_log = log(__name__)


class Edge:
    """Plain ASGI middleware; whatever is wrong inside leaves as a problem."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        larger: Mapping[str, int] | None = None,
        dialects: Mapping[str, Writer] | None = None,
        tracer: Tracer = OFF,
    ) -> None:
        """Wrap `app`; a body over `max_body_bytes` is refused before more of it is read.

        `larger` has another limit for some paths, `dialects` what writes problems under each
        beginning of a path that has its own way.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._larger = larger or {}
        self._dialects = dialects or {}
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._larger.get(scope["path"], self._max_body_bytes)
        exchange = _Exchange(scope, receive, send, most)
        tracer = OFF if scope["path"] in _UNTRACED else self._tracer
        with tracer.serve(scope["method"], scope[TRACE]) as span:
            exchange.begin(span)
            try:
                await self._serve(scope, exchange)
            finally:
                exchange.count()

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            exchange.check_length()
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_LEFT
        except Exception as error:  # noqa: BLE001  the last resort of every request
            await exchange.fail(error, self._writer(scope["path"]))

    def _writer(self, path: str) -> Writer:
        return next((w for start, w in self._dialects.items() if path.startswith(start)), answer)


class _Exchange:
    """One request and its answer, as they pass by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._read_bytes = 0
        self._started_at = time.perf_counter()
        self._id, scope[TRACE] = _named(scope["headers"])
        self.status = 0
        scope[REQUEST_ID] = self._id.decode()

    def begin(self, span: Span) -> None:
        """Let all that is told of this request name it."""
        self._scope[SPAN] = self._span = span
        trace = self._scope[TRACE] = span.traceparent or self._scope[TRACE]
        # a task of its own has a context of its own, but for what a pipelining client sent before
        clear_contextvars()
        bind_contextvars(request_id=self._scope[REQUEST_ID], **logged(trace))

    def check_length(self) -> None:
        """Refuse what says itself that it is too large."""
        for name, value in self._scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._max_body_bytes:
                raise self._too_large()

    async def receive(self) -> Message:
        """Hand on the next part of the body; whatever was said of its length, it is counted."""
        message = await self._receive()
        self._read_bytes += len(message.get("body", b""))
        if self._read_bytes > self._max_body_bytes:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Hand on the answer, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._id)]
        await self._send(message)

    async def fail(self, error: Exception, write: Writer) -> None:
        """Answer with a problem by `write`; where the answer has begun, it stays unfinished."""
        problem = problem_of(error)
        if isinstance(error, StoreError) or isinstance(error.__cause__, StoreError):
            metrics.REDIS_ERRORS.inc()
        request_id = self._scope[REQUEST_ID]
        if problem.code == "internal":
            _log.error("request failed", exc_info=error)
        elif self.status:
            _log.warning("answer broken off", reason=problem.detail)
        if not self.status:
            await write(problem, request_id)(self._scope, self._receive, self.send)

    def count(self) -> None:
        """Add this request to the metrics, under its route's template."""
        route = getattr(self._scope.get("route"), "path_format", "unmatched")
        method = self._scope["method"]
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
        return Problem(
            "body_too_large",
            f"The largest body that is taken here has {self._max_body_bytes:,} bytes.",
            # what is left of the body is not waited for
            headers={"Connection": "close"},
        )


@cache
def _counted(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Give the metrics of one kind of answer: finding them costs more than counting."""
    return (
        metrics.HTTP_REQUESTS.labels(route, method, str(status)),
        metrics.HTTP_REQUEST_SECONDS.labels(route),
    )


def _named(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, str | None]:
    """Give the request's id, the caller's own if that is sane, and the trace it is part of."""
    request_id, trace = b"", None
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            request_id = request_id or value
        elif name == b"traceparent":
            trace = read_traceparent(value.decode("latin-1"))
    return request_id or secrets.token_hex(12).encode(), trace
