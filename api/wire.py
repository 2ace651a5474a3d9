"""How requests come in from the socket: uvicorn's own way, but for three limits.

uvicorn keeps whatever comes before a request's body, or behind it, from whoever, for as long as it
comes. It waits for ever for a head that was begun, or for the first one. And it closes a connection
that nobody uses after 5 s, which is just as long as many clients keep theirs: their next request
and our end would cross.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: The most bytes that the head of a request (its line and its headers) may have, and what follows a
#: body in chunks (headers again), give or take what is read from the socket at once.
HEAD_BYTES = 64 * 1024
#: How long an idle connection is kept at least: longer than clients (httpx 5 s), proxies and load
#: balancers (nginx and AWS 60 s) keep theirs, so that they are the ones that close it.
IDLE_SECONDS = 75
#: How long a head may take to come, and the first one to begin: nginx' own limit.
HEAD_SECONDS = 60.0


class Wire(HttpToolsProtocol):
    """One connection. Start the server with `--http api.wire:Wire`."""

    #: Bytes since a head ended, a part of a body came, or a request ended.
    _loose_bytes = 0
    _is_further = False
    head_seconds = HEAD_SECONDS
    _is_in_head = True
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Begin; uvicorn's `--timeout-keep-alive` may only make the patience longer."""
        super().connection_made(transport)
        self.timeout_keep_alive = max(self.timeout_keep_alive, IDLE_SECONDS)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nobody waits for a head any more."""
        self._is_in_head = False
        self._watch_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; end the connection where it leads no further for too long."""
        self._is_further = False
        super().data_received(data)
        self._loose_bytes = 0 if self._is_further else self._loose_bytes + len(data)
        if self._loose_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {HEAD_BYTES:,} bytes.")
        self._watch_head()

    def _watch_head(self) -> None:
        """Begin to wait for the end of a head, or cease to: most come whole, and cost nothing."""
        if self._is_in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)
        elif not self._is_in_head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # begun while the answer before it still goes out
            self._watch_head()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Count anew: what follows is the body."""
        super().on_headers_complete()
        self._is_further = True
        self._is_in_head = False

    def on_body(self, body: bytes) -> None:
        """Count anew: bodies are counted where they are read."""
        super().on_body(body)
        self._is_further = True

    def on_message_complete(self) -> None:
        """Count anew: what follows is the next request."""
        super().on_message_complete()
        self._is_further = True
