"""How requests come in from the socket: uvicorn's own way, but for two limits.

uvicorn keeps whatever comes before a request's body, or behind it, from whoever, for as long as it
comes. And it closes a connection that nobody uses after 5 s, which is just as long as many clients
keep theirs: their next request and our end would cross.
"""

from asyncio import Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: The most bytes that the head of a request (its line and its headers) may have, and what follows a
#: body in chunks (headers again), give or take what is read from the socket at once.
HEAD_BYTES = 64 * 1024
#: How long an idle connection is kept at least: longer than clients (httpx 5 s), proxies and load
#: balancers (nginx and AWS 60 s) keep theirs, so that they are the ones that close it.
IDLE_SECONDS = 75


class Wire(HttpToolsProtocol):
    """One connection. Start the server with `--http api.wire:Wire`."""

    #: Bytes since a head ended, a part of a body came, or a request ended.
    _loose_bytes = 0
    _is_further = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Begin; uvicorn's `--timeout-keep-alive` may only make the patience longer."""
        super().connection_made(transport)
        self.timeout_keep_alive = max(self.timeout_keep_alive, IDLE_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take what came; end the connection where it leads no further for too long."""
        self._is_further = False
        super().data_received(data)
        self._loose_bytes = 0 if self._is_further else self._loose_bytes + len(data)
        if self._loose_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {HEAD_BYTES:,} bytes.")

    def on_headers_complete(self) -> None:
        """Count anew: what follows is the body."""
        super().on_headers_complete()
        self._is_further = True

    def on_body(self, body: bytes) -> None:
        """Count anew: bodies are counted where they are read."""
        super().on_body(body)
        self._is_further = True

    def on_message_complete(self) -> None:
        """Count anew: what follows is the next request."""
        super().on_message_complete()
        self._is_further = True
