"""How requests come in from the socket: uvicorn's HTTP/1.1, but with limits, and as RFC 9110 asks.

uvicorn buffers whatever comes before or behind a request's body, from any client, for any length of
time. It waits without end for a head, a body, or a client that does not read its answer. It closes
an idle connection after 5 s, which is as long as many clients keep theirs: their next request and
our end would cross. It drops the body of a request that offers to upgrade the protocol, and resets
a connection whose client still sends.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: The most bytes that the head of a request (its line and its headers) may have, and what follows a
#: body in chunks (headers again), give or take what is read from the socket at once.
HEAD_BYTES = 64 * 1024
#: How long an idle connection is kept at least: longer than clients (httpx 5 s), proxies and load
#: balancers (nginx and AWS 60 s) keep theirs, so that they are the ones that close it.
IDLE_SECONDS = 75
#: How long a head may take to come, and the first one to begin: nginx' own limit.
HEAD_SECONDS = 60.0
#: While a body is read, each so many seconds have to bring at least so many bytes of it.
PACE_SECONDS = 10.0
PACE_BYTES = 5_000
#: How often that is measured before a body is cut off: after ten minutes in all.
BODY_PACES = 60
#: The same for what is read and thrown away behind an answer that did not wait for the body.
LINGER_PACES = 3
#: How long a client may take none of the answer that waits for it: nginx' own limit.
STALL_SECONDS = 60.0
#: Stands in the scope of a request whose body comes too slowly.
TOO_SLOW = "darkroom.body_too_slow"

_VERSION_WITHOUT_CHUNKS = "1.0"


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Start the server with `--http api.server:LimitedHttpProtocol`."""

    head_seconds = HEAD_SECONDS
    pace_seconds = PACE_SECONDS
    stall_seconds = STALL_SECONDS
    #: Bytes since a head ended, a part of a body came, or a request ended.
    _loose_bytes = 0
    _is_further = False
    _is_in_head = True
    _is_in_body = False
    _is_offer = False
    _head_timer: TimerHandle | None = None
    _pace_timer: TimerHandle | None = None
    _stall_timer: TimerHandle | None = None
    _paces = 0
    _received_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Begin; uvicorn's `--timeout-keep-alive` may only make the patience longer."""
        self._lingering = LingeringTransport(transport, self._begin_to_linger)
        super().connection_made(cast("Transport", self._lingering))
        self.timeout_keep_alive = max(self.timeout_keep_alive, IDLE_SECONDS)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nothing is waited for any more."""
        for timer in (self._head_timer, self._pace_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._is_in_body = False
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End with the process; the rest of a body that was answered is not waited for."""
        if self.cycle is not None and self.cycle.response_complete:
            self._is_in_body = False
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Take what came; end the connection where it leads no further for too long."""
        self._received_bytes += len(data)
        if self._lingering.lingers:
            return
        self._is_further = False
        self._unset_keepalive_if_required()
        left = data
        while left:
            left = self._parse(left)
        self._loose_bytes = 0 if self._is_further else self._loose_bytes + len(data)
        if self._loose_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {HEAD_BYTES:,} bytes.")
        self._watch()

    def _parse(self, data: bytes) -> bytes:
        """Parse what came; returns what has to be parsed again."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._without_offer() + data[upgrade.args[0] :] if self._is_offer else b""
        except HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        return b""

    def _without_offer(self) -> bytes:
        """Write the head again without its offer to upgrade (RFC 9110, 7.8), for a new parser.

        The old one takes what follows such a head for another protocol.
        """
        request_line = (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%s %s HTTP/%s" % request_line]
        lines += [b"%s: %s" % pair for pair in self.headers if pair[0] != b"upgrade"]
        self._is_offer = False
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _should_upgrade(self) -> bool:
        return False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; what else the client sends is not waited for."""
        self._is_in_body = True
        super().send_400_response(msg)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; blanks around its value are not part of it (RFC 9110, 5.5)."""
        # called for every header: uvicorn's own, and not by way of it
        name, value = name.lower(), value.strip(b" \t")
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Count anew: what follows is the body."""
        self._is_further = True
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._is_offer = True
            return
        if self.expect_100_continue:  # which HTTP/1.0 does not know
            self.expect_100_continue = self.parser.get_http_version() != _VERSION_WITHOUT_CHUNKS
        self._is_in_head = False
        self._is_in_body = True
        self._paces = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count anew: bodies are counted where they are read."""
        super().on_body(body)
        self._is_further = True

    def on_message_complete(self) -> None:
        """Count anew: what follows is the next request."""
        self._is_further = True
        if not self._is_offer:
            self._is_in_body = False
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401  uvicorn's
        if cycle.scope["http_version"] == _VERSION_WITHOUT_CHUNKS:
            app = _until_close(app, cycle)
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Begin to watch a client that does not take its answer."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """Cease to watch it."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _watch(self) -> None:
        """Begin to wait for what is due next, or cease to: most come whole, and cost nothing."""
        if self._is_in_head or self._head_timer is not None:
            self._watch_head()
        if self._is_in_body or self._pace_timer is not None:
            self._watch_pace()
        elif self._is_idle() and self.timeout_keep_alive_task is None:
            # what came was the rest of a body that nobody waited for, or no request
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
        else:  # begun while the answer before it still goes out
            self._watch_head()

    def _watch_pace(self) -> None:
        if self._is_in_body and self._pace_timer is None:
            before = self._received_bytes
            self._pace_timer = self.loop.call_later(self.pace_seconds, self._check_pace, before)
        elif not self._is_in_body and self._pace_timer is not None:
            self._pace_timer.cancel()
            self._pace_timer = None

    def _check_pace(self, before: int) -> None:
        """Cut off a body that comes too slowly; one that we do not read now has all its time."""
        self._pace_timer = None
        if not self.flow.read_paused:
            self._paces += 1
            most = LINGER_PACES if self._lingering.lingers else BODY_PACES
            if self._received_bytes - before < PACE_BYTES or self._paces >= most:
                self._cut_off()
        self._watch_pace()

    def _cut_off(self) -> None:
        """End the connection; a request that was not answered yet is, where its body is read."""
        if self._lingering.lingers or self.cycle.response_started:
            self._lingering.abort()
        else:
            scope: Scope = cast("Scope", self.cycle.scope)
            scope[TOO_SLOW] = True
            self.cycle.message_event.set()

    def _begin_to_linger(self) -> bool:
        """Go on reading if a body is under way: a reset would take the answer away (RFC 9112, 9.6).

        Returns whether that is so.
        """
        if not self._is_in_body:
            return False
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
    """A connection whose `close` lets the client send on for a while, where it has to.

    To uvicorn it is closing from then on. A second `close` ends it.
    """

    def __init__(self, transport: Transport, begin_to_linger: Callable[[], bool]) -> None:
        """Wrap `transport`; `begin_to_linger` tells whether `close` has to wait."""
        self._transport = transport
        self._begin_to_linger = begin_to_linger
        self.write: Callable[[bytes], object] = transport.write
        self.lingers = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the transport has
        """Be the transport in all else."""
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether nothing more is to be sent."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """Send no more; where the client still sends, read on for a while."""
        if not self.is_closing() and self._begin_to_linger():
            self.lingers = True
            self.write = _drop  # an answer that was under way meanwhile
        else:
            self._transport.close()


def _drop(_: bytes) -> None:
    """Send nothing."""


def _until_close(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Let answers of unknown length end with the connection: HTTP/1.0 knows no chunks."""
    is_unknown = False

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plain(message: Message) -> None:
            nonlocal is_unknown
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                is_unknown = b"content-length" not in names
                cycle.chunked_encoding = False if is_unknown else None
            elif is_unknown:  # uvicorn then finds as many bytes as it expects
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return run
