"""Webhook receivers on addresses of their own: some respond at once, some never.

All of 127.0.0.0/8 is this machine, so each receiver can be another host.
"""

import asyncio
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvloop

from sandbox.servers import free_port
from sandbox.wait import wait_until

_NUMBER = re.compile(rb"^POST /hook\?n=(\d+) ")
_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class WebhookReceivers:
    """The webhooks that the responding receivers got: by number, the times of their arrival."""

    def __init__(self, healthy: Sequence[str], hanging: Sequence[str]) -> None:
        """Name the hosts."""
        self.healthy = healthy
        self.hanging = hanging
        self.port = free_port()
        self.came: dict[int, list[float]] = defaultdict(list)

    def url(self, host: str, number: int) -> str:
        """Return the URL of one webhook; all URLs of one host are one endpoint."""
        return f"http://{host}:{self.port}/hook?n={number}"

    def note(self, number: int) -> None:
        """Record an arrival."""
        self.came[number].append(time.time())


class _Receiving(asyncio.Protocol):
    def __init__(self, receivers: WebhookReceivers, *, answers: bool) -> None:
        self._receivers = receivers
        self._answers = answers
        self._read = bytearray()
        self._transport: Any = None  # uvloop's is of no class of asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        start = self._read.lower().find(b"content-length:", 0, max(head, 0)) + 15
        if head < 0 or len(self._read) < head + 4 + int(self._read[start:].split(b"\r")[0]):
            return
        found = _NUMBER.match(bytes(self._read[:head]))
        self._read.clear()
        if found and self._answers:
            self._receivers.note(int(found[1]))
            self._transport.write(_TAKEN)


@contextmanager
def receiving(healthy: Sequence[str], hanging: Sequence[str]) -> Iterator[WebhookReceivers]:
    """Listen at all hosts while the block runs."""
    receivers = WebhookReceivers(healthy, hanging)
    ready, over = threading.Event(), threading.Event()

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        for hosts, answers in ((healthy, True), (hanging, False)):
            for host in hosts:
                await loop.create_server(
                    lambda answers=answers: _Receiving(receivers, answers=answers),  # type: ignore[misc]
                    host,
                    receivers.port,
                    backlog=1024,
                )
        ready.set()
        await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: uvloop.run(listen()))
    thread.start()
    wait_until(lambda: ready.is_set() or not thread.is_alive(), "the receivers")
    try:
        yield receivers
    finally:
        over.set()
        thread.join()
