"""uvicorn's HTTP/1.1 protocol, with limits, and conforming to RFC 9110.

uvicorn buffers what precedes or follows a request's body, without limit. It waits without limit for
a head, a body, or a client that does not read its response. It closes an idle connection after 5 s,
as long as many clients keep theirs, so that their next request and the close can cross. It drops
the body of a request that offers a protocol upgrade, and resets a connection whose client is still
sending.
"""

import secrets
from asyncio import TimerHandle, Transport
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from typing import Any, cast

import orjson
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared.logs import log

_log = log(__name__)

#: The maximum size of a request head (request line and headers) and of trailers, give or take one
#: read from the socket.
HEAD_BYTES = 64 * 1024
#: The minimum keep-alive time: longer than that of clients (httpx 5 s), proxies and load balancers
#: (nginx and AWS 60 s), so that they close connections first.
IDLE_SECONDS = 75
#: The time limit for a head, and for the first one to begin: nginx' default.
HEAD_SECONDS = 60.0
#: Body rate limit: within each period of this length, at least this many bytes must arrive.
PACE_SECONDS = 10.0
PACE_BYTES = 5_000
#: How often this is measured before a body is cut off: after ten minutes in total.
BODY_PACES = 60
#: The same for a body that is discarded after an early response.
LINGER_PACES = 3
#: How long a client may read nothing of its response: nginx' default.
STALL_SECONDS = 60.0
#: The memory of one process for the parts of responses that clients have not read.
UNREAD_BYTES = 256_000_000
#: Why a body was cut off.
_BELOW_RATE = f"At least {PACE_BYTES:,} bytes of a body must arrive in {PACE_SECONDS:.0f} seconds."
_PAST_TIME = f"A body must arrive within {BODY_PACES * PACE_SECONDS / 60:.0f} minutes in all."
#: The scope entry of a request whose body arrives too slowly: a sentence that names the limit.
TOO_SLOW = "darkroom.body_too_slow"

#: The scope entry with the address and port of the connection, which `client` has no longer if a
#: proxy sent X-Forwarded-For; None for a Unix socket.
PEER = "darkroom.peer"
#: The scope entry of the tenant's name, once its key is checked.
TENANT = "darkroom.tenant"

_VERSION_WITHOUT_CHUNKS = "1.0"


class UnreadResponses:
    """The responses whose clients read more slowly than the app writes, oldest first."""

    def __init__(self, most_bytes: int) -> None:
        """Let them hold `most_bytes` together."""
        self._most = most_bytes
        self._reason = (
            f"Clients leave more than {most_bytes:,} bytes of responses unread; this reader, a "
            "tenant or an address, leaves most."
        )
        self._held: dict[Transport, tuple[str, int]] = {}
        self._held_by: Counter[str] = Counter()

    def add(self, transport: Transport, reader: str) -> None:
        """Count what `transport` holds; over the limit, abort the oldest of the largest reader.

        So slow clients of one reader do not end the responses of another.
        """
        size = transport.get_write_buffer_size()
        self._held[transport] = (reader, size)
        self._held_by[reader] += size
        while self._held_by.total() > self._most:
            ((largest, _),) = self._held_by.most_common(1)
            oldest = next(one for one, (reader, _) in self._held.items() if reader == largest)
            self.remove(oldest)
            oldest.abort()
            # without the ids of the request that is being answered here
            Context().run(_log.warning, "response aborted", reader=largest, reason=self._reason)

    def remove(self, transport: Transport) -> None:
        """Stop counting a response that is read again or has ended."""
        reader, size = self._held.pop(transport, ("", 0))
        self._held_by[reader] -= size
        if not self._held_by[reader]:
            del self._held_by[reader]


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Start the server with `--http api.server:LimitedHttpProtocol`."""

    unread = UnreadResponses(UNREAD_BYTES)
    head_seconds = HEAD_SECONDS
    pace_seconds = PACE_SECONDS
    body_paces = BODY_PACES
    stall_seconds = STALL_SECONDS
    #: Bytes since a head ended, a part of a body came, or a request ended.
    _loose_bytes = 0
    _is_further = False
    _is_in_head = True
    _is_in_body = False
    _is_offer = False
    _is_discarding = False
    _running: RequestResponseCycle | None = None
    _head_timer: TimerHandle | None = None
    _pace_timer: TimerHandle | None = None
    _stall_timer: TimerHandle | None = None
    _paces = 0
    _received_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Start; uvicorn's `--timeout-keep-alive` can only extend the time."""
        self._lingering = LingeringTransport(transport, self._begin_to_linger)
        super().connection_made(cast("Transport", self._lingering))
        self.timeout_keep_alive = max(self.timeout_keep_alive, IDLE_SECONDS)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        for timer in (self._head_timer, self._pace_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._is_in_body = False
        self.unread.remove(self._lingering.transport)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Stop with the process, without waiting for the rest of an answered body."""
        if self.cycle is not None and self.cycle.response_complete:
            self._is_in_body = False
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Handle received data; close the connection if it makes no progress for too long."""
        self._received_bytes += len(data)
        if self._lingering.lingers or self._is_discarding:
            return
        self._is_further = False
        self._unset_keepalive_if_required()
        left = data
        while left:
            left = self._parse(left)
        self._loose_bytes = 0 if self._is_further else self._loose_bytes + len(data)
        if self._loose_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have at most {HEAD_BYTES:,} bytes.")
        self._watch()

    def _parse(self, data: bytes) -> bytes:
        """Parse data; return what must be parsed again."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._without_offer() + data[upgrade.args[0] :] if self._is_offer else b""
        except HttpParserError as error:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response(_malformed(error))
        return b""

    def _without_offer(self) -> bytes:
        """Rewrite the head without its upgrade offer (RFC 9110, 7.8), for a new parser.

        The old parser would treat what follows as another protocol.
        """
        request_line = (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%s %s HTTP/%s" % request_line]
        lines += [b"%s: %s" % pair for pair in self.headers if pair[0] != b"upgrade"]
        self._is_offer = False
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _should_upgrade(self) -> bool:
        return False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not a request, without waiting for further data.

        Behind a request that is still being answered, discard it instead, and close the connection
        after that response: the client would take the refusal for its response.
        """
        if self._is_in_body and self.pipeline:
            self.pipeline.popleft()  # the newest request, whose body is malformed
        last = self.pipeline[0][0] if self.pipeline else self._running
        is_faulty = self._is_in_body and last is self.cycle  # its own body is malformed
        if last is None or last.response_complete or (is_faulty and not last.response_started):
            self._is_in_body = True
            self.transport.write(_refusal(msg))
            self.transport.close()
        else:
            last.keep_alive = False
            self.cycle = last
            self._is_in_body = False
            self._is_discarding = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header; whitespace around its value is not part of it (RFC 9110, 5.5)."""
        # called for every header: does what uvicorn's own does, without calling it
        name, value = name.lower(), value.strip(b" \t")
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_message_begin(self) -> None:
        """Start the timer of a head."""
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Start the timer of the body."""
        self._is_further = True
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._is_offer = True
            return
        if self.expect_100_continue:  # which HTTP/1.0 does not have
            self.expect_100_continue = self.parser.get_http_version() != _VERSION_WITHOUT_CHUNKS
        super().on_headers_complete()
        self._is_in_head = False
        self._is_in_body = True
        self._paces = 0

    def on_body(self, body: bytes) -> None:
        """Reset the count: bodies are counted where they are read."""
        super().on_body(body)
        self._is_further = True

    def on_message_complete(self) -> None:
        """Reset the count for the next request."""
        self._is_further = True
        if not self._is_offer:
            self._is_in_body = False
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401  uvicorn's
        scope: Scope = cast("Scope", cycle.scope)
        scope[PEER] = self.client
        self._running = cycle
        if cycle.scope["http_version"] == _VERSION_WITHOUT_CHUNKS:
            app = _until_close(app, cycle)
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read its response, and count its bytes."""
        super().pause_writing()
        self._watch_stall()
        address = self.client[0] if self.client else ""
        answered = self._running or self.cycle
        self.unread.add(self._lingering.transport, str(answered.scope.get(TENANT, address)))

    def resume_writing(self) -> None:
        """Stop that timer."""
        super().resume_writing()
        self.unread.remove(self._lingering.transport)
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _watch(self) -> None:
        """Start or stop a timer for the next event; most requests arrive whole and need none."""
        if self._is_in_head or self._head_timer is not None:
            self._watch_head()
        if self._is_in_body or self._pace_timer is not None:
            self._watch_pace()
        elif self._is_idle() and self.timeout_keep_alive_task is None:
            # this was the rest of a discarded body, or not a request
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _is_idle(self) -> bool:
        is_answered = self.cycle is not None and self.cycle.response_complete
        return is_answered and not self._is_in_head and not self.transport.is_closing()

    def _watch_head(self) -> None:
        if self._is_in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._drop_head)
        elif not self._is_in_head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _drop_head(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # it began while the previous response was being sent
            self._watch_head()

    def _watch_pace(self) -> None:
        if self._is_in_body and self._pace_timer is None:
            before = self._received_bytes
            self._pace_timer = self.loop.call_later(self.pace_seconds, self._check_pace, before)
        elif not self._is_in_body and self._pace_timer is not None:
            self._pace_timer.cancel()
            self._pace_timer = None

    def _check_pace(self, before: int) -> None:
        """Cut off a body that arrives too slowly; while it is not read here, it has no limit."""
        self._pace_timer = None
        if not self.flow.read_paused:
            self._paces += 1
            most = LINGER_PACES if self._lingering.lingers else self.body_paces
            if self._received_bytes - before < PACE_BYTES:
                self._cut_off(_BELOW_RATE)
            elif self._paces >= most:
                self._cut_off(_PAST_TIME)
        self._watch_pace()

    def _cut_off(self, limit: str) -> None:
        """Close the connection; an unanswered request is answered where its body is read."""
        if self._lingering.lingers or self.cycle.response_started:
            self._lingering.abort()
        else:
            scope: Scope = cast("Scope", self.cycle.scope)
            scope[TOO_SLOW] = limit
            self.cycle.message_event.set()

    def _begin_to_linger(self) -> bool:
        """Continue reading if a body is arriving, because a reset would discard the response.

        Return whether that is so (RFC 9112, 9.6).
        """
        if not self._is_in_body and not self._is_discarding:
            return False
        self._is_in_body = True
        if self._lingering.can_write_eof():
            self._lingering.write_eof()
        self.flow.resume_reading()
        self._paces = 0
        self._watch_pace()
        return True

    def _watch_stall(self) -> None:
        waiting = self._lingering.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(self.stall_seconds, self._check_stall, waiting)

    def _check_stall(self, before: int) -> None:
        if self._lingering.get_write_buffer_size() >= before:
            self._lingering.abort()
        else:
            self._watch_stall()


class LingeringTransport:
    """A transport whose `close` lets the client finish sending, if necessary.

    To uvicorn it is closing from then on. A second `close` ends it.
    """

    def __init__(self, transport: Transport, begin_to_linger: Callable[[], bool]) -> None:
        """Wrap `transport`; `begin_to_linger` returns whether `close` must wait."""
        self.transport = transport
        self._begin_to_linger = begin_to_linger
        self.write: Callable[[bytes], object] = transport.write
        self.lingers = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the transport has
        """Delegate everything else to the transport."""
        return getattr(self.transport, name)

    def is_closing(self) -> bool:
        """Return whether nothing more may be sent."""
        return self.lingers or self.transport.is_closing()

    def close(self) -> None:
        """Stop sending; while the client still sends, continue reading for a while."""
        if not self.is_closing() and self._begin_to_linger():
            self.lingers = True
            self.write = _drop  # a response that was being written
        else:
            self.transport.close()


def _malformed(error: HttpParserError) -> str:
    """Return why the parser stopped, in its words."""
    cause = error.__context__ if isinstance(error, HttpParserCallbackError) else error
    if isinstance(cause, HttpParserInvalidURLError):
        return (
            "This is not a valid HTTP request: its URL is invalid. "
            "Write characters other than visible ASCII as %XX."
        )
    return f"This is not a valid HTTP request: {error}."


def _refusal(detail: str) -> bytes:
    """Write a problem that ends the connection; no middleware has seen the request."""
    request_id = secrets.token_hex(12)
    problem = {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": detail,
        "code": "malformed_request",
        "request_id": request_id,
    }
    body = orjson.dumps(problem)
    lines = (
        "HTTP/1.1 400 Bad Request",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        f"x-request-id: {request_id}",
        "connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _drop(_: bytes) -> None:
    """Discard data."""


def _until_close(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """End responses of unknown length with the connection: HTTP/1.0 has no chunks."""
    is_unknown = False

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plain(message: Message) -> None:
            nonlocal is_unknown
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                is_unknown = b"content-length" not in names
                cycle.chunked_encoding = False if is_unknown else None
            elif is_unknown:  # uvicorn then counts as many bytes as it expects
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return run
