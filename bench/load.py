"""Load over HTTP/1.1 from one event loop, cheap enough to share two cores with the server.

Closed loop, for throughput: each connection sends its next request as soon as it has a response.
Open loop, for latency: requests are due at fixed times, whatever the responses do, and latency
counts from the time at which a request was due.
"""

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

import uvloop

#: How long answers are waited for when nothing is asked any more, in seconds.
PATIENCE_SECONDS = 60.0
#: The status of a request whose connection was closed before its answer.
CUT = 0
#: Writes the next request, whole.
NextRequest = Callable[[], bytes]


@dataclass
class Outcome:
    """The result of a load: the responses by status, their seconds, and the duration."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Responses per second."""
        return len(self.seconds) / self.took

    def percentile(self, percent: int) -> float:
        """Return the seconds within which `percent` per cent of the requests were answered."""
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, on_answer: "Callable[[_Connection, int], None]") -> None:
        self._on_answer = on_answer
        self._read = bytearray()
        self._transport: Any = None  # uvloop's is of no class of asyncio's
        self._closed = False
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        """Send a request that was due at `due`."""
        self.due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._read.lower().find(b"content-length:", 0, head) + len(b"content-length:")
        length = int(self._read[start : self._read.find(b"\r", start)])
        if len(self._read) < head + 4 + length:
            return
        status = int(self._read[9:12])
        self._read.clear()
        self._on_answer(self, status)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._closed:
            self._on_answer(self, CUT)

    def close(self) -> None:
        self._closed = True
        self._transport.close()


class _Load:
    """The connections of one load, and its results."""

    def __init__(self, url: str, requests: NextRequest) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._requests = requests
        self._finished = asyncio.Event()
        self._asked = 0
        self.outcome = Outcome()
        self.connections: list[_Connection] = []

    async def run(self, count: int, begin: Callable[[], Awaitable[None]]) -> Outcome:
        """Open the connections, begin, and wait until all requests are answered."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: _Connection(self._answered), self._host, self._port
            )
            self.connections.append(connection)
        began = time.perf_counter()
        await begin()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._finished.wait()
        self.outcome.took = time.perf_counter() - began
        for connection in self.connections:
            connection.close()
        return self.outcome

    def ask(self, connection: _Connection, due: float) -> None:
        self._asked += 1
        connection.ask(self._requests(), due)

    def free(self, connection: _Connection, now: float) -> None:
        """Use a connection that has its response."""
        raise NotImplementedError

    def _answered(self, connection: _Connection, status: int) -> None:
        now = time.perf_counter()
        self.outcome.statuses[status] += 1
        if status == CUT:
            self._finished.set()
            return
        self.outcome.seconds.append(now - connection.due)
        self.free(connection, now)
        if len(self.outcome.seconds) == self._asked and self.is_over(now):
            self._finished.set()

    def is_over(self, now: float) -> bool:
        """Return whether no further request will be sent."""
        raise NotImplementedError


class _Closed(_Load):
    def __init__(self, url: str, requests: NextRequest, seconds: float) -> None:
        super().__init__(url, requests)
        self._seconds = seconds
        self._end = 0.0

    async def begin(self) -> None:
        now = time.perf_counter()
        self._end = now + self._seconds
        for connection in self.connections:
            self.ask(connection, now)
        await asyncio.sleep(self._seconds)

    def free(self, connection: _Connection, now: float) -> None:
        if not self.is_over(now):
            self.ask(connection, now)

    def is_over(self, now: float) -> bool:
        return now >= self._end


class _Open(_Load):
    def __init__(self, url: str, requests: NextRequest, rate: float, count: int) -> None:
        super().__init__(url, requests)
        self._rate = rate
        self._left = count
        self._idle: deque[_Connection] = deque()
        self._late: deque[float] = deque()

    async def begin(self) -> None:
        self._idle.extend(self.connections)
        began = time.perf_counter()
        for number in range(self._left):
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._left -= 1
            if self._idle:
                self.ask(self._idle.popleft(), due)
            else:
                self._late.append(due)

    def free(self, connection: _Connection, now: float) -> None:  # noqa: ARG002  asked when due
        if self._late:
            self.ask(connection, self._late.popleft())
        else:
            self._idle.append(connection)

    def is_over(self, now: float) -> bool:  # noqa: ARG002  its end is a number
        return not self._left and not self._late


def closed(url: str, requests: NextRequest, *, connections: int, seconds: float) -> Outcome:
    """Send requests over `connections` connections for `seconds`; wait for every response."""

    async def run() -> Outcome:
        loading = _Closed(url, requests, seconds)
        return await loading.run(connections, loading.begin)

    return uvloop.run(run())


def opened(url: str, requests: NextRequest, *, rate: float, count: int, most: int = 64) -> Outcome:
    """Send `count` requests, `rate` per second, over up to `most` connections."""

    async def run() -> Outcome:
        loading = _Open(url, requests, rate, count)
        return await loading.run(most, loading.begin)

    return uvloop.run(run())


def posts(url: str, path: str, headers: dict[str, str], body: bytes) -> NextRequest:
    """Write POSTs of one body, each with an `Idempotency-Key` of its own."""
    named = {"Host": urlsplit(url).netloc, "Content-Type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\nIdempotency-Key: "
    keys: Iterator[int] = itertools.count(time.time_ns())
    before, after = head.encode(), b"\r\n\r\n" + body
    return lambda: before + b"%d" % next(keys) + after
