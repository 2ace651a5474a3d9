"""A primary with a replica, watched by Sentinel: the address names Sentinel alone."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from sandbox.children import Child
from sandbox.provider.server import running
from sandbox.servers import free_port, valkey_program
from sandbox.waiting import wait_until
from tests.crew import Worker, command, environment
from tests.front_door import FrontDoor, served, settings, tenant_at
from tests.integration.sandbox_client import steered
from tests.servers import RedisServer, S3Server, redis_server
from tests.workshop import INPUT, settings_for

ACCEPTED = 202
#: What opens the sentinels, where what they watch has a password.
WATCHERS = "watchers"


@contextmanager
def sentinel(where: Path, primary: RedisServer, password: str) -> Iterator[redis.Redis]:
    where.mkdir()
    port = free_port()
    configuration = where / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {where}\n"
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        + (f"sentinel auth-pass main {password}\nrequirepass {WATCHERS}\n" if password else "")
    )
    program = [str(valkey_program()), str(configuration), "--sentinel"]
    with (
        Child(program, where / "log", environment={}),
        redis.Redis(
            port=port, password=WATCHERS if password else None, decode_responses=True
        ) as client,
    ):
        wait_until(lambda: _answers(client), "sentinel")
        yield client


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _port(client: redis.Redis) -> int:
    address = client.sentinel_get_master_addr_by_name("main")
    assert isinstance(address, tuple)
    return int(address[1])


def _guard(server: RedisServer, password: str) -> None:
    """Let nobody in without a password, from now on."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("masterauth", password)
        client.config_set("requirepass", password)


def _is_copied(primary: RedisServer, password: str) -> bool:
    with redis.Redis.from_url(primary.url, password=password or None) as client:
        client.set("copied", 1)
        return int(client.execute_command("WAIT", 1, 100)) == 1


@pytest.mark.parametrize("password", ["", "p@ss/w:rd"])
def test_the_api_and_a_worker_follow_a_failover(
    tmp_path: Path, s3: S3Server, password: str
) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(redis_server(tmp_path / "primary"))
        copies = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = stack.enter_context(redis_server(tmp_path / "replica", *copies))
        for server in (primary, replica) if password else ():
            _guard(server, password)
        watching = stack.enter_context(sentinel(tmp_path / "sentinel", primary, password))
        wait_until(lambda: len(watching.sentinel_slaves("main")) == 1, "a replica that is known")
        at = f"127.0.0.1:{watching.get_connection_kwargs()['port']}"
        url = f"sentinel://{at}/0?master=main"
        if password:
            opens = f":{quote(password, safe='')}@"
            url = f"sentinel://{opens}{at}/0?master=main&sentinel_password={WATCHERS}"
        provider = stack.enter_context(steered(stack.enter_context(running())))
        told = settings_for(s3, provider.url, redis_url=url, provider_rate_per_minute=0)
        serving = stack.enter_context(served(settings(url)))
        door = stack.enter_context(tenant_at(serving, url))
        crew = Worker(command("generate"), tmp_path / "worker.log", environment=environment(told))
        stack.enter_context(crew)
        crew.wait_until_ready()
        _make(door, crew)

        wait_until(lambda: _is_copied(primary, password), "a replica that has everything")
        primary.child.kill()
        wait_until(lambda: _port(watching) == replica.port, "a new primary")
        wait_until(lambda: door.client.get("/readyz").is_success, "a ready API")

        _make(door, crew)


def _make(door: FrontDoor, crew: Worker) -> None:
    """Ask for a picture, and wait until it is there; a worker that ended is started again."""
    accepted: list[str] = []

    def is_accepted() -> bool:
        answer = door.client.post("/v1/jobs", json={"input": dict(INPUT)})
        accepted.append(answer.json().get("id", ""))
        return answer.status_code == ACCEPTED

    def is_there() -> bool:
        if not crew.alive:
            crew.start()
        answer = door.client.get(f"/v1/jobs/{accepted[-1]}")
        return answer.is_success and answer.json()["status"] == "succeeded"

    wait_until(is_accepted, "a job that is accepted")
    wait_until(is_there, "a picture", seconds=60)
