"""Redis away, frozen, unfit or back again: the front door says so in time, and stays open."""

import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from uvicorn.config import STARTUP_FAILURE

from api.main import create_app
from sandbox.children import Child
from sandbox.servers import free_port
from sandbox.waiting import wait_for_http, wait_until
from shared.settings import Settings
from shared.store.schema import SCHEMA, SCHEMA_KEY
from tests.conftest import InTime
from tests.front_door import PROMPT, FrontDoor, problem, served, settings, tenant_at
from tests.servers import RedisServer, redis_server

TIMEOUT = 0.5


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def door(own: RedisServer) -> Iterator[FrontDoor]:
    chosen = settings(own.url, redis_timeout_seconds=TIMEOUT)
    with served(chosen) as url, tenant_at(url, own.url) as door:
        yield door


def took(answer: httpx.Response) -> float:
    return answer.elapsed.total_seconds()


def ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz").status_code == 200


def accepted(door: FrontDoor) -> bool:
    return door.client.post("/v1/jobs", json=PROMPT).status_code == 202


def test_a_redis_that_is_gone_is_told_within_a_quarter_of_a_second(
    door: FrontDoor, own: RedisServer, in_time: InTime
) -> None:
    door.create()
    own.child.kill()
    for _ in range(5):
        answer = door.client.post("/v1/jobs", json=PROMPT)
        problem(answer, 503, "redis_down")
        assert int(answer.headers["retry-after"]) > 0
        in_time(took(answer), 0.25)
    problem(door.client.get("/v1/jobs"), 503, "redis_down")
    wait_until(lambda: not ready(door.url), "the front door to be not ready")
    body = problem(httpx.get(f"{door.url}/readyz"), 503, "not_ready")
    assert body["reasons"] == ["Redis is not reachable."]
    assert httpx.get(f"{door.url}/healthz").json() == {"status": "ok"}


def test_a_redis_that_comes_back_is_used_again(door: FrontDoor, own: RedisServer) -> None:
    job = door.create()
    own.child.kill()
    problem(door.client.post("/v1/jobs", json=PROMPT), 503, "redis_down")
    own.start()
    wait_until(lambda: accepted(door), "jobs to be accepted again")
    wait_until(lambda: ready(door.url), "the front door to be ready again")
    assert door.client.get(f"/v1/jobs/{job['id']}").json()["id"] == job["id"]


def test_a_frozen_redis_holds_nobody_longer_than_its_timeout(
    door: FrontDoor, own: RedisServer, in_time: InTime
) -> None:
    door.create()
    own.child.send(signal.SIGSTOP)
    answer = door.client.post("/v1/jobs", json=PROMPT)
    body = problem(answer, 503, "accept_unknown")
    in_time(took(answer), TIMEOUT + 0.5)
    healthy = httpx.get(f"{door.url}/healthz")
    assert healthy.status_code == 200
    in_time(took(healthy), 0.2)
    own.child.send(signal.SIGCONT)
    assert body["job_id"] in answer.headers["location"]
    # the truth can be read under the id: here the script ran late, and refused itself or not
    wait_until(lambda: accepted(door), "jobs to be accepted again")
    told = door.client.get(answer.headers["location"])
    assert told.status_code in {200, 404}


def test_a_late_script_refuses_itself(door: FrontDoor, own: RedisServer) -> None:
    door.create()
    own.child.send(signal.SIGSTOP)
    answer = door.client.post("/v1/jobs", json=PROMPT)
    job_id = problem(answer, 503, "accept_unknown")["job_id"]
    ends_at = time.monotonic() + TIMEOUT
    wait_until(lambda: time.monotonic() > ends_at, "the time of the script to be over")
    own.child.send(signal.SIGCONT)
    wait_until(lambda: accepted(door), "jobs to be accepted again")
    problem(door.client.get(f"/v1/jobs/{job_id}"), 404, "not_found")


def test_a_wait_outlives_a_restart_of_redis(door: FrontDoor, own: RedisServer) -> None:
    job = door.create()
    path = f"/v1/jobs/{job['id']}/events"
    names = []
    with door.client.stream("GET", path) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
                if names == ["queued"]:
                    own.child.kill()
                    own.start()
                    door.succeed()
    assert names == ["queued", "running", "change", "change", "succeeded"]


def test_data_that_a_newer_version_has_changed_are_not_added_to(door: FrontDoor) -> None:
    door.create()
    assert door.world.client.get(SCHEMA_KEY) == str(SCHEMA)

    door.world.client.set(SCHEMA_KEY, SCHEMA + 1)

    wait_until(lambda: door.client.get("/readyz").status_code == 503, "a front door not ready")
    said = problem(door.client.post("/v1/jobs", json=PROMPT), 503, "not_ready")["detail"]
    assert "start the newer version" in said
    door.world.client.set(SCHEMA_KEY, SCHEMA)
    wait_until(lambda: accepted(door), "jobs to be accepted again")


def test_the_front_door_opens_without_redis_and_finds_it_later(own: RedisServer) -> None:
    own.child.kill()
    with served(settings(own.url, redis_timeout_seconds=TIMEOUT)) as url:
        problem(httpx.get(f"{url}/readyz"), 503, "not_ready")
        assert httpx.get(f"{url}/healthz").status_code == 200
        own.start()
        wait_until(lambda: ready(url), "the front door to be ready")
        with tenant_at(url, own.url) as door:
            assert accepted(door)


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


def test_nothing_is_accepted_near_the_memory_limit(door: FrontDoor) -> None:
    job = door.create()
    used = int(door.world.client.info("memory")["used_memory"])
    door.world.client.config_set("maxmemory", int(used * 1.1))
    wait_until(lambda: not accepted(door), "the front door to notice")
    problem(door.client.post("/v1/jobs", json=PROMPT), 503, "redis_full")
    assert not ready(door.url)
    assert door.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    door.world.client.config_set("maxmemory", "1gb")
    wait_until(lambda: accepted(door), "jobs to be accepted again")


def test_a_wrong_setting_stops_the_start_with_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        create_app(Settings(s3_access_key="", s3_secret_key=""))
    said = capsys.readouterr().err
    assert "DARKROOM_S3_ACCESS_KEY is missing." in said
    assert "DARKROOM_S3_SECRET_KEY is missing." in said
    assert stopped.value.code == STARTUP_FAILURE


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
        with tenant_at(url, own.url) as door, ThreadPoolExecutor(2) as threads:
            job = door.create()
            path = f"/v1/jobs/{job['id']}"
            held = threads.submit(door.client.get, f"{path}?wait=60", timeout=60)
            with door.client.stream("GET", f"{path}/events", timeout=60) as stream:
                lines = stream.iter_lines()
                wait_until(lambda: next(lines).startswith("data: "), "the first event")
                child.send(signal.SIGTERM)
                assert list(lines) == [""]
            assert held.result(10).json()["status"] == "queued"
        wait_until(lambda: not child.alive, "the process to end")
