"""Redis away, frozen, unfit or back again: the API says so in time, and stays open."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
import redis

from api.main import create_app
from api.redis_monitor import RedisMonitor
from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_until
from shared.settings import Settings
from shared.signing import ImageUrlSigner
from shared.store import keys
from shared.store.command import Command
from shared.store.connection import connect_async
from shared.store.group_commit import GroupCommitClient
from shared.store.prices import read_prices, write_prices
from shared.store.schema_version import SCHEMA
from tests.conftest import InTime
from tests.support.api_server import PROMPT, ApiServer, problem, served, settings, tenant_at
from tests.support.servers import RedisServer, redis_server
from tests.support.store import World, memory_limit

T = TypeVar("T")
TIMEOUT = 0.5


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def api_server(own: RedisServer) -> Iterator[ApiServer]:
    chosen = settings(own.url, redis_timeout_seconds=TIMEOUT)
    with served(chosen) as url, tenant_at(url, own.url) as api_server:
        yield api_server


def took(answer: httpx.Response) -> float:
    return answer.elapsed.total_seconds()


def ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz").status_code == 200


def accepted(api_server: ApiServer) -> bool:
    return api_server.client.post("/v1/jobs", json=PROMPT).status_code == 202


def test_a_redis_that_is_gone_is_told_within_a_quarter_of_a_second(
    api_server: ApiServer, own: RedisServer, in_time: InTime
) -> None:
    api_server.create()
    own.child.kill()
    for _ in range(5):
        answer = api_server.client.post("/v1/jobs", json=PROMPT)
        problem(answer, 503, "redis_down")
        assert int(answer.headers["retry-after"]) > 0
        in_time(took(answer), 0.25)
    problem(api_server.client.get("/v1/jobs"), 503, "redis_down")
    wait_until(lambda: not ready(api_server.url), "the API to be not ready")
    body = problem(httpx.get(f"{api_server.url}/readyz"), 503, "not_ready")
    assert body["reasons"] == ["Redis is not reachable."]
    assert httpx.get(f"{api_server.url}/healthz").json() == {"status": "ok"}


def test_a_redis_that_comes_back_is_used_again(api_server: ApiServer, own: RedisServer) -> None:
    job = api_server.create()
    own.child.kill()
    problem(api_server.client.post("/v1/jobs", json=PROMPT), 503, "redis_down")
    own.start()
    wait_until(lambda: accepted(api_server), "jobs to be accepted again")
    wait_until(lambda: ready(api_server.url), "the API to be ready again")
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["id"] == job["id"]


def test_a_frozen_redis_holds_nobody_longer_than_its_timeout(
    api_server: ApiServer, own: RedisServer, in_time: InTime
) -> None:
    api_server.create()
    own.child.send(signal.SIGSTOP)
    answer = api_server.client.post("/v1/jobs", json=PROMPT)
    body = problem(answer, 503, "accept_unknown")
    in_time(took(answer), TIMEOUT + 0.5)
    healthy = httpx.get(f"{api_server.url}/healthz")
    assert healthy.status_code == 200
    in_time(took(healthy), 0.2)
    own.child.send(signal.SIGCONT)
    assert body["job_id"] in answer.headers["location"]
    # the truth can be read under the id: here the script ran late, and refused itself or not
    wait_until(lambda: accepted(api_server), "jobs to be accepted again")
    told = api_server.client.get(answer.headers["location"])
    assert told.status_code in {200, 404}


def test_a_late_script_refuses_itself(api_server: ApiServer, own: RedisServer) -> None:
    api_server.create()
    own.child.send(signal.SIGSTOP)
    answer = api_server.client.post("/v1/jobs", json=PROMPT)
    job_id = problem(answer, 503, "accept_unknown")["job_id"]
    ends_at = time.monotonic() + TIMEOUT
    wait_until(lambda: time.monotonic() > ends_at, "the time of the script to be over")
    own.child.send(signal.SIGCONT)
    wait_until(lambda: accepted(api_server), "jobs to be accepted again")
    problem(api_server.client.get(f"/v1/jobs/{job_id}"), 404, "not_found")


def test_a_wait_outlives_a_restart_of_redis(api_server: ApiServer, own: RedisServer) -> None:
    job = api_server.create()
    path = f"/v1/jobs/{job['id']}/events"
    names = []
    with api_server.client.stream("GET", path) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
                if names == ["queued"]:
                    own.child.kill()
                    own.start()
                    api_server.succeed()
    assert names == ["queued", "running", "change", "change", "succeeded"]


def test_data_that_a_newer_version_has_changed_are_not_added_to(api_server: ApiServer) -> None:
    api_server.create()
    assert api_server.world.client.get(keys.schema()) == str(SCHEMA)

    api_server.world.client.set(keys.schema(), SCHEMA + 1)

    wait_until(
        lambda: api_server.client.get("/readyz").status_code == 503, "an API that is not ready"
    )
    said = problem(api_server.client.post("/v1/jobs", json=PROMPT), 503, "not_ready")["detail"]
    assert "start the newer version" in said
    api_server.world.client.set(keys.schema(), SCHEMA)
    wait_until(lambda: accepted(api_server), "jobs to be accepted again")


def test_the_api_starts_without_redis_and_finds_it_later(own: RedisServer) -> None:
    own.child.kill()
    with served(settings(own.url, redis_timeout_seconds=TIMEOUT)) as url:
        problem(httpx.get(f"{url}/readyz"), 503, "not_ready")
        assert httpx.get(f"{url}/healthz").status_code == 200
        own.start()
        wait_until(lambda: ready(url), "the API to be ready")
        with tenant_at(url, own.url) as api_server:
            assert accepted(api_server)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
        (("--appendonly", "no"), "appendonly"),
    ],
)
def test_an_unfit_redis_is_named(tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    with redis_server(tmp_path / "redis", *options) as server, served(settings(server.url)) as url:
        body = problem(httpx.get(f"{url}/readyz"), 503, "not_ready")
    assert word in body["reasons"][0]


def test_nothing_is_accepted_near_the_memory_limit(api_server: ApiServer) -> None:
    job = api_server.create()
    used = int(api_server.world.client.info("memory")["used_memory"])
    with memory_limit(api_server.world.client, int(used * 1.1)):
        wait_until(lambda: not accepted(api_server), "the API to notice")
        problem(api_server.client.post("/v1/jobs", json=PROMPT), 503, "redis_full")
        assert not ready(api_server.url)
        assert api_server.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    wait_until(lambda: accepted(api_server), "jobs to be accepted again")


def test_a_wrong_setting_stops_the_start_with_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        create_app(Settings(s3_access_key="", s3_secret_key=""))
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "The API cannot start.",
        "DARKROOM_S3_ACCESS_KEY is missing.",
        "DARKROOM_S3_SECRET_KEY is missing.",
    ]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("s3_endpoint", "ftp.amazonaws.com"),
        ("s3_public_endpoint", "https://ftp.amazonaws.com"),
    ],
)
def test_a_host_of_aws_that_is_no_storage_stops_the_start(
    name: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Settings(s3_access_key="a", s3_secret_key="s")
    settings = own.model_copy(update={name: address})
    with pytest.raises(SystemExit) as stopped:
        create_app(settings)
    assert stopped.value.code == 2
    assert f"DARKROOM_{name.upper()} is not usable: " in capsys.readouterr().err


def test_a_password_that_breaks_the_address_of_redis_is_not_shown() -> None:
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app"]
    environment = {"DARKROOM_REDIS_URL": "redis://:Hunter2secret#1@127.0.0.1:6379/0"}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    said = (ended.stdout + ended.stderr).splitlines()
    assert [line.split()[0] for line in said] == [
        *("The", "DARKROOM_REDIS_URL", "DARKROOM_S3_ACCESS_KEY", "DARKROOM_S3_SECRET_KEY")
    ]
    assert not any("Hunter2" in line for line in said)


def test_a_stop_lets_those_who_wait_go(own: RedisServer, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "DARKROOM_REDIS_URL": own.url,
        "DARKROOM_S3_ACCESS_KEY": "access-key",
        "DARKROOM_S3_SECRET_KEY": "secret-key",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app"]
    log = tmp_path / "log"
    with Child([*command, "--port", str(port)], log, environment=environment) as child:
        url = f"http://127.0.0.1:{port}"
        wait_for_http(f"{url}/readyz", status=200)
        with tenant_at(url, own.url) as api_server, ThreadPoolExecutor(2) as threads:
            job = api_server.create()
            path = f"/v1/jobs/{job['id']}"
            held = threads.submit(api_server.client.get, f"{path}?wait=60", timeout=60)
            with api_server.client.stream("GET", f"{path}/events", timeout=60) as stream:
                lines = stream.iter_lines()
                wait_until(lambda: next(lines).startswith("data: "), "the first event")
                child.send(signal.SIGTERM)
                assert list(lines) == [""]
            assert held.result(10).json()["status"] == "queued"
        wait_until(lambda: not child.alive, "the process to end")


def test_prices_that_a_failover_brought_back_are_replaced(own: RedisServer) -> None:
    earlier, now = {"m": 1.0}, {"m": 2.0, "n": None}

    async def watch(world: World) -> None:
        pool = connect_async(world.settings, connections=4)
        committer = GroupCommitClient(pool, world.scripts, timeout_seconds=5)
        async with committer, RedisMonitor(pool, committer, ImageUrlSigner(), now):
            assert read_prices(world.client) == now
            world.client.set(keys.prices(), write_prices(earlier))
            before = world.client.info("replication")["master_replid"]
            own.child.kill()
            own.start()  # as another server that has all but the last write
            assert world.client.info("replication")["master_replid"] != before
            await asyncio.to_thread(
                wait_until, lambda: read_prices(world.client) == now, "the prices of the API"
            )

    with closing(World(own.url)) as world:
        asyncio.run(watch(world))


def test_a_record_that_cannot_be_read_stops_no_later_check(empty_redis_url: str) -> None:
    async def watch(world: World) -> None:
        pool = connect_async(world.settings, connections=4)
        committer = GroupCommitClient(pool, world.scripts, timeout_seconds=5)
        world.client.hset(keys.gate(), "hold:storage", "soon")
        async with committer, RedisMonitor(pool, committer, ImageUrlSigner(), {}) as monitor:
            assert (monitor.reasons, monitor.service) == ([], None)
            world.client.hdel(keys.gate(), "hold:storage")
            await asyncio.to_thread(
                wait_until, lambda: monitor.service is not None, "the state of the service"
            )

    with closing(World(empty_redis_url)) as world:
        asyncio.run(watch(world))


class LosesData(GroupCommitClient):
    """A client whose Redis loses all data just before the signing keys are read."""

    server: redis.Redis

    async def run(self, call: Command[T]) -> T:
        if call.script == "read_signing_keys":
            self.server.flushall()
        return await super().run(call)


def test_a_redis_that_loses_its_data_takes_no_signing_key_away(own: RedisServer) -> None:
    async def signing_keys(world: World) -> tuple[bytes, ...]:
        pool = connect_async(world.settings, connections=4)
        async with LosesData(pool, world.scripts, timeout_seconds=5) as committer:
            committer.server = world.client
            async with RedisMonitor(pool, committer, ImageUrlSigner(), {}) as monitor:
                assert monitor.reasons == []
                monitor.ensure_capacity()
                return monitor.signer.keys

    with closing(World(own.url)) as world:
        (key,) = asyncio.run(signing_keys(world))
    assert len(key) == 32
