"""A crowd of clients, each on a connection of its own, each waiting for its own job."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.results import Unequal

#: How long the last of them is waited for, in seconds.
PATIENCE_SECONDS = 60.0
#: What a response about a final job contains.
_FINAL = (b'"status":"succeeded"', b'"status":"canceled"')


@dataclass(frozen=True, slots=True)
class WaitingClients:
    """A crowd: the server, the request of each client, and its interval."""

    url: str
    requests: Sequence[bytes]
    #: seconds between two requests of one client; None waits in one request
    every: float | None = None


class _Client(asyncio.Protocol):
    def __init__(
        self, crowd: WaitingClients, number: int, answered: Callable[[int, bool], None]
    ) -> None:
        self._crowd = crowd
        self._number = number
        self._answered = answered
        self._read = bytearray()
        self._transport: Any = None  # uvloop's is of no class of asyncio's
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self) -> None:
        if not self.is_over:
            self._transport.write(self._crowd.requests[self._number])

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        start = self._read.lower().find(b"content-length:", 0, max(head, 0)) + 15
        if head < 0 or len(self._read) < head + 4 + int(self._read[start:].split(b"\r")[0]):
            return
        self.is_over = any(word in self._read for word in _FINAL)
        self._read.clear()
        self._answered(self._number, self.is_over)
        if not self.is_over:
            asyncio.get_running_loop().call_later(self._crowd.every or 0, self.ask)

    def close(self) -> None:
        self.is_over = True
        self._transport.close()


def wait_in_crowd(
    crowd: WaitingClients,
    finish: Callable[[int], object],
    *,
    count: int,
    rate: float,
    when_all_wait: Callable[[], None],
) -> list[float]:
    """Let all clients wait, then finish the jobs of the first `count`, `rate` per second.

    Return the seconds from each end to its client's response. Raise Unequal if a client got the end
    of a job that was not finished. `when_all_wait` is called first and must return while all wait.
    """
    return uvloop.run(_wait_in_crowd(crowd, finish, count, rate, when_all_wait))


async def _wait_in_crowd(
    crowd: WaitingClients,
    finish: Callable[[int], object],
    count: int,
    rate: float,
    when_all_wait: Callable[[], None],
) -> list[float]:
    ended: dict[int, float] = {}
    told: dict[int, float] = {}
    all_told = asyncio.Event()

    def answered(number: int, is_final: bool) -> None:  # noqa: FBT001  one word of the answer
        if is_final:
            told[number] = time.perf_counter()
            if len(told) == count:
                all_told.set()

    def end_all() -> None:
        began = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            ended[number] = time.perf_counter()
            finish(number)

    clients = await _arrive(crowd, answered)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as thread:
        await loop.run_in_executor(thread, when_all_wait)
        await loop.run_in_executor(thread, end_all)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await all_told.wait()
    for client in clients:
        client.close()
    if set(told) != set(ended):
        raise Unequal("Clients were notified of the end of jobs that had not ended.")
    return [told[number] - ended[number] for number in ended]


async def _arrive(crowd: WaitingClients, answered: Callable[[int, bool], None]) -> list[_Client]:
    parts = urlsplit(crowd.url)
    loop = asyncio.get_running_loop()
    spread = (crowd.every or 0) / len(crowd.requests)
    clients = []
    for number in range(len(crowd.requests)):
        _, client = await loop.create_connection(
            lambda number=number: _Client(crowd, number, answered),  # type: ignore[misc]
            parts.hostname or "",
            parts.port or 80,
        )
        client.ask()
        clients.append(client)
        await asyncio.sleep(spread)
    return clients
