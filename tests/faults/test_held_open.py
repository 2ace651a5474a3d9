"""Row 27: bodies held open, bodies byte by byte, and clients that never read their events."""

import asyncio
import functools
import http.client
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sandbox.wait import wait_until
from tests.conftest import InTime
from tests.faults.conftest import Tell
from tests.integration.test_many_waiting import Hall, hall
from tests.support.api_server import PROMPT

pytestmark = pytest.mark.xdist_group("faults-2")

#: What the process may take for all of it: what it may hold of one tenant's bodies, and 40 kB a
#: connection.
BODIES_BYTES, CONNECTION_BYTES = 100_000_000, 40_000
#: What stays with the process for each connection that has ended.
FREED_BYTES = 10_000
#: Requests of others whose times are taken.
ASKED = 100
#: What is shorter than this is not told from twice as much.
LEAST_SECONDS = 0.05
#: The longest that a connection of a body may last: its pace, what it lingers, and some patience.
ENDS_SECONDS = 60
LARGE = b'{"jobs":[' + b'{"input":{"prompt":"%s"}},' % (b"p" * 9000) * 3000
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
long = functools.partial(pytest.param, marks=pytest.mark.long)
Connect = Callable[[Hall, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Hall]:
    with hall(tmp_path) as place:
        yield place


def head(place: Hall, line: str, *headers: str, key: str = "") -> bytes:
    usual = (
        "Host: h",
        f"Authorization: Bearer {key or place.key}",
        "Content-Type: application/json",
    )
    return "\r\n".join((line, *usual, *headers)).encode() + b"\r\n\r\n"


async def open_with(place: Hall, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = httpx.URL(place.url)
    reader, writer = await asyncio.open_connection(where.host, where.port, limit=4096)
    writer.write(sent)
    return reader, writer


async def held_body(place: Hall, _: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send most of a large batch, and then nothing."""
    line = head(place, "POST /v1/batches HTTP/1.1", f"Content-Length: {len(LARGE) + 9}")
    return await open_with(place, line + LARGE)


async def slow_body(place: Hall, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin a body, with a key or without."""
    key = "" if number % 2 else "dk_none"
    line = head(place, "POST /v1/jobs HTTP/1.1", "Content-Length: 900000", key=key)
    return await open_with(place, line + b"{")


def p99(place: Hall) -> float:
    """Return the time that the slowest but one of other requests takes.

    They are sent by a process of their own: this one is busy with the bodies.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        return other.submit(_p99, place.url, place.key).result()


def _p99(url: str, key: str) -> float:
    where = httpx.URL(url)
    connection = http.client.HTTPConnection(where.host, where.port, timeout=60)
    times = []
    for _ in range(ASKED):
        began = time.perf_counter()
        connection.request("GET", "/v1/jobs?limit=1", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        times.append(time.perf_counter() - began)
    connection.close()
    return sorted(times)[-2]


async def under(place: Hall, count: int, connect: Connect, *, ended: bool) -> tuple[float, int]:
    """Open so many connections; gives others' p99 meanwhile, and the most memory that was taken."""
    opened = [await connect(place, number) for number in range(count)]
    with ThreadPoolExecutor(1) as thread:
        measured = asyncio.get_running_loop().run_in_executor(thread, p99, place)
        if ended:
            async with asyncio.timeout(ENDS_SECONDS):
                await asyncio.gather(*(drip(*one) for one in opened))
        slowest = await measured
        memory = place.memory()
    for _, writer in opened:
        writer.close()
    return slowest, memory


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte each second until the server ends the connection."""
    reading = asyncio.create_task(reader.read())
    while not reading.done():
        if not writer.is_closing():
            writer.write(b" ")
        await asyncio.wait([reading], timeout=1)
    await asyncio.gather(reading, return_exceptions=True)


def survive(
    place: Hall, in_time: InTime, count: int, connect: Connect, *, ended: bool
) -> dict[str, object]:
    """Let clients misbehave; memory and others' times stay within bounds, and all ends."""
    usual, before = p99(place), place.memory()
    slowest, most = asyncio.run(under(place, count, connect, ended=ended))
    assert most - before < BODIES_BYTES + count * CONNECTION_BYTES
    in_time(slowest, max(2 * usual, LEAST_SECONDS))
    # glibc keeps some of what many connections took for the next ones
    rest = BODIES_BYTES + count * FREED_BYTES
    wait_until(lambda: place.memory() - before < rest, "the memory to be given back")
    assert httpx.get(f"{place.url}/healthz").status_code == 200
    grown = f"{(most - before) / 1e6:.0f} MB"
    return {"clients": count, "p99 before": usual, "p99 meanwhile": slowest, "memory": grown}


@pytest.mark.parametrize("count", [slow(10), long(40)])
def test_bodies_that_are_held_open_end_and_take_bounded_memory(
    place: Hall, tell: Tell, in_time: InTime, count: int
) -> None:
    tell(27, "29 MB bodies held open", **survive(place, in_time, count, held_body, ended=True))


@pytest.mark.parametrize("count", [slow(100), long(3000)])
def test_bodies_that_come_byte_by_byte_end(
    place: Hall, tell: Tell, in_time: InTime, count: int
) -> None:
    tell(27, "bodies byte by byte", **survive(place, in_time, count, slow_body, ended=True))


@pytest.mark.parametrize("count", [slow(200), long(4000)])
def test_clients_that_never_read_their_events_take_bounded_memory(
    place: Hall, tell: Tell, in_time: InTime, count: int
) -> None:
    made = httpx.post(
        f"{place.url}/v1/jobs", json=PROMPT, headers={"Authorization": f"Bearer {place.key}"}
    )
    line = head(place, f"GET /v1/jobs/{made.json()['id']}/events HTTP/1.1")

    async def follow(place: Hall, _: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await open_with(place, line)

    tell(27, "events never read", **survive(place, in_time, count, follow, ended=False))
    # and as many again take nothing more
    before = place.memory()
    survive(place, in_time, count, follow, ended=False)
    assert place.memory() - before < BODIES_BYTES / 4
