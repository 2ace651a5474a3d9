"""Many clients wait at once on one process: none is forgotten, and Redis hardly knows of them."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_until
from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from shared.store.provisioning import provision_tenant
from tests.support.api_server import PROMPT
from tests.support.servers import RedisServer, redis_server
from tests.support.store import World
from tests.support.tls import TLS
from tests.support.worker_process import environment

#: One for scripts, one that looks once a second, one that reads the stream, one to spare.
CONNECTIONS = 4
TENANT = "acme"


@dataclass(frozen=True)
class Hall:
    """One real process of the API, and the store behind it."""

    url: str
    key: str
    child: Child
    redis: RedisServer
    world: World

    def connections(self) -> int:
        """Count the connections to Redis that are the API's."""
        opened = psutil.Process(self.child.pid).net_connections("tcp")
        ours = {f"{one.laddr.ip}:{one.laddr.port}" for one in opened if one.raddr}
        clients: list[dict[str, Any]] = self.world.client.client_list()
        return sum(client["addr"] in ours for client in clients)

    def memory(self) -> int:
        """Return what the process holds of the machine's memory, in bytes."""
        return int(psutil.Process(self.child.pid).memory_info().rss)


@contextmanager
def hall(directory: Path) -> Iterator[Hall]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app"),
        *("--http", "api.server:LimitedHttpProtocol", "--port", str(port), "--no-access-log"),
        *("--backlog", "4096"),
    ]
    with redis_server(directory / "redis") as redis, closing(World(redis.url)) as world:
        key = provision_tenant(world.store, TENANT, by="test").api_key
        chosen = {
            "redis_url": redis.url,
            "s3_access_key": "access-key",
            "s3_secret_key": "secret-key",
            # what is measured is waiting; a machine that does much else is slow at times
            "redis_timeout_seconds": 20,
        }
        with Child(command, directory / "log", environment=environment(chosen)) as child:
            url = f"http://127.0.0.1:{port}"
            wait_for_http(f"{url}/readyz", status=200)
            yield Hall(url, key, child, redis, world)


Ask = Callable[[httpx.AsyncClient], Coroutine[Any, Any, str]]


async def preferring(client: httpx.AsyncClient) -> str:
    """Make a job and wait for its end in the same request."""
    answer = await client.post("/v1/jobs", json=PROMPT, headers={"Prefer": "wait=60"})
    return str(answer.json()["status"])


async def holding(client: httpx.AsyncClient) -> str:
    """Make a job and ask until it is final, each answer held until it changes."""
    made = await client.post("/v1/jobs", json=PROMPT)
    return await held(client, made.json()["id"])


async def held(client: httpx.AsyncClient, job_id: str) -> str:
    status = "queued"
    while status in {"queued", "running"}:
        status = (await client.get(f"/v1/jobs/{job_id}?wait=60")).json()["status"]
    return status


async def following(client: httpx.AsyncClient) -> str:
    """Make a job and follow its events."""
    made = await client.post("/v1/jobs", json=PROMPT)
    last = ""
    async with client.stream("GET", f"/v1/jobs/{made.json()['id']}/events") as stream:
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            last = value if name == "event" else last
    return last


async def predicting(client: httpx.AsyncClient) -> str:
    """Wait as Replicate's client does: for a minute in the request, then by asking."""
    made = await client.post(
        f"/replicate/v1/models/{DEFAULT_MODEL}/predictions",
        json=PROMPT,
        headers={"Prefer": "wait"},
    )
    found = made.json()
    return await held(client, found["id"]) if found["status"] == "starting" else found["status"]


FACES: tuple[Ask, ...] = (preferring, holding, following, predicting)


async def all_answers(place: Hall, count: int, end: Callable[[], None]) -> Counter[str]:
    """Let so many clients wait, bring their jobs to an end, and give what each was told last."""
    # a connection kept open may be closed by the server just as it is used again
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {place.key}"}
    timeout = httpx.Timeout(100, connect=60)
    async with httpx.AsyncClient(
        base_url=place.url, headers=headers, limits=limits, timeout=timeout, verify=TLS
    ) as client:
        waiting = [asyncio.create_task(FACES[i % 4](client)) for i in range(count)]
        await asyncio.to_thread(end)
        return Counter(await asyncio.gather(*waiting))


async def answers_at_a_stop(place: Hall, waiting: int, before: int) -> Counter[int]:
    """Let some wait, stop the process, and count what they were answered."""
    headers = {"Authorization": f"Bearer {place.key}", "Prefer": "wait=60"}
    async with httpx.AsyncClient(headers=headers, timeout=60, verify=TLS) as client:
        asked = [
            asyncio.create_task(client.post(f"{place.url}/v1/jobs", json=PROMPT))
            for _ in range(waiting)
        ]
        await asyncio.to_thread(wait_for_jobs, place.world, before + waiting)
        place.child.send(signal.SIGTERM)
        return Counter(one.status_code for one in await asyncio.gather(*asked))


@pytest.mark.parametrize(
    "count", [200, pytest.param(2000, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
def test_nobody_who_waits_is_forgotten_nor_kept_by_a_stop(
    tmp_path: Path, record_property: Callable[[str, object], None], count: int
) -> None:
    with hall(tmp_path) as place:
        before, seen = place.memory(), [0]

        def end() -> None:
            wait_for_jobs(place.world, count)
            seen[0] = place.connections()
            record_property("bytes a client", (place.memory() - before) // count)
            ids = place.world.client.zrange(keys.tenant_jobs(TENANT), 0, -1)
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(place.world.cancel, ids))

        told = asyncio.run(all_answers(place, count, end))

        assert told == {"canceled": count}
        assert 0 < seen[0] <= CONNECTIONS
        assert asyncio.run(answers_at_a_stop(place, 60, count)) == {202: 60}
        wait_until(lambda: not place.child.alive, "the process to end")


def wait_for_jobs(world: World, count: int) -> None:
    wait_until(
        lambda: world.client.zcard(keys.tenant_jobs(TENANT)) == count,
        f"{count} jobs",
        seconds=60,
    )
