"""A primary with a replica, watched by Sentinel: the address names Sentinel alone."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from sandbox.provider.server import running
from sandbox.servers import free_port, valkey_program
from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.start_commands import worker_command
from shared.store.connection import connect
from tests.integration.sandbox_client import steered
from tests.support.api_server import ApiServer, served, settings, tenant_at
from tests.support.servers import RedisServer, S3Server, redis_server
from tests.support.worker_harness import INPUT, settings_for
from tests.support.worker_process import Worker, environment

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


@dataclass(frozen=True)
class Pair:
    """A primary, its replica, the Sentinel that watches both, and the address that names it."""

    primary: RedisServer
    replica: RedisServer
    watching: redis.Redis
    url: str

    def fail_over(self, password: str = "") -> None:
        """Kill the primary once the replica has everything, and wait until that is the primary."""
        wait_until(lambda: _is_copied(self.primary, password), "a replica that has everything")
        self.primary.child.kill()
        wait_until(lambda: _port(self.watching) == self.replica.port, "a new primary")


@contextmanager
def pair(where: Path, password: str = "") -> Iterator[Pair]:
    with ExitStack() as stack:
        primary = stack.enter_context(redis_server(where / "primary"))
        copies = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = stack.enter_context(redis_server(where / "replica", *copies))
        for server in (primary, replica) if password else ():
            _guard(server, password)
        watching = stack.enter_context(sentinel(where / "sentinel", primary, password))
        wait_until(lambda: len(watching.sentinel_slaves("main")) == 1, "a replica that is known")
        at = f"127.0.0.1:{watching.get_connection_kwargs()['port']}"
        opens = f":{quote(password, safe='')}@" if password else ""
        own = f"&sentinel_password={WATCHERS}" if password else ""
        yield Pair(primary, replica, watching, f"sentinel://{opens}{at}/0?master=main{own}")


@pytest.mark.parametrize("password", ["", "p@ss/w:rd"])
def test_the_api_and_a_worker_follow_a_failover(
    tmp_path: Path, s3: S3Server, password: str
) -> None:
    with ExitStack() as stack:
        both = stack.enter_context(pair(tmp_path, password))
        provider = stack.enter_context(steered(stack.enter_context(running())))
        told = settings_for(s3, provider.url, redis_url=both.url, provider_rate_per_minute=0)
        serving = stack.enter_context(served(settings(both.url)))
        api_server = stack.enter_context(tenant_at(serving, both.url))
        worker = Worker(
            worker_command("generate"), tmp_path / "worker.log", environment=environment(told)
        )
        stack.enter_context(worker)
        worker.wait_until_ready()
        _produce_image(api_server, worker)

        both.fail_over(password)
        wait_until(lambda: api_server.client.get("/readyz").is_success, "a ready API")

        _produce_image(api_server, worker)


def test_a_connection_that_is_kept_follows_a_failover(tmp_path: Path) -> None:
    with pair(tmp_path) as both, connect(settings(both.url), connections=1) as client:
        client.set("kept", 1)
        both.fail_over()
        wait_until(lambda: _writes(client), "a connection to the new primary")
        with redis.Redis.from_url(both.replica.url) as new:
            assert new.get("kept") == b"2"


def _writes(client: redis.Redis) -> bool:
    try:
        return bool(client.set("kept", 2))
    except (redis.RedisError, OSError):
        return False


def _produce_image(api_server: ApiServer, worker: Worker) -> None:
    """Ask for an image, and wait until it is there; a worker that ended is started again."""
    accepted: list[str] = []

    def is_accepted() -> bool:
        answer = api_server.client.post("/v1/jobs", json={"input": dict(INPUT)})
        accepted.append(answer.json().get("id", ""))
        return answer.status_code == ACCEPTED

    def is_there() -> bool:
        if not worker.alive:
            worker.start()
        answer = api_server.client.get(f"/v1/jobs/{accepted[-1]}")
        return answer.is_success and answer.json()["status"] == "succeeded"

    wait_until(is_accepted, "a job that is accepted")
    wait_until(is_there, "an image", seconds=60)
