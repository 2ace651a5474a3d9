"""Every process of ours in docker-compose.yml, with its command and environment, on this machine.

What stands in for the containers: a Valkey with compose's own command, rclone as the S3 server, a
PostgreSQL from a wheel, and files and ports of this machine in place of those inside the
containers.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from sqlalchemy.engine import URL, make_url

from sandbox.servers import free_port, s3_command, s3_environment, valkey_program
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_for_redis, wait_until
from shared.store import keys
from tests.deploy.compose import grace_seconds, services
from tests.e2e.up import clean_environment
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.tls import TLS

_BIN = Path(sys.executable).parent
SERVING = ("provider", "api", "worker-generate", "worker-deliver")


@dataclass
class Machine:
    """This machine in place of the containers' network and volumes."""

    where: Path
    redis: int
    s3: int
    postgres: PostgresServer
    ports: Mapping[str, int]
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def keys(self) -> Path:
        return self.where / "keys"

    def here(self, name: str, word: str) -> str:
        """Return a word of a service's command or environment as it has to be here."""
        provider, own = self.ports["provider"], self.ports.get(name, 0)
        moved = {
            "redis:6379": f"127.0.0.1:{self.redis}",
            "s3:8333": f"127.0.0.1:{self.s3}",
            "/run/darkroom": str(self.keys),
            "http://provider:8081": f"http://127.0.0.1:{provider}",
            "127.0.0.1:8000": f"127.0.0.1:{self.ports['api']}",
            "127.0.0.1:8081": f"127.0.0.1:{provider}",
            "127.0.0.1:9100": f"127.0.0.1:{own}",
        }
        alone = {"8000": str(own), "8081": str(own), "9100": str(own), "0.0.0.0": "127.0.0.1"}  # noqa: S104  taken away here
        for theirs, ours in moved.items():
            word = word.replace(theirs, ours)
        return alone.get(word, word)

    def command(self, name: str, words: list[str]) -> list[str]:
        program, *arguments = (self.here(name, word) for word in words)
        return [str(_BIN / program), *arguments]

    def environment(self, name: str) -> dict[str, str]:
        told = services()[name].get("environment", {})
        own = {variable: self.here(name, str(value)) for variable, value in told.items()}
        # the warning is for machines where root runs the tests; the container's user is another
        quiet = {"PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges"}
        return {**clean_environment(), **quiet, **own}

    def start_up(
        self, name: str, told: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `init` or `check-provider` with the variables of an operator's .env."""
        command = services(told)[name]["command"]
        return self._do(name, [*command, "--secret", str(self.where / "onemin.key")])

    def check_health(self, name: str) -> int:
        return self._do(name, services()[name]["healthcheck"]["test"][1:]).returncode

    def wait_until_healthy(self, name: str) -> None:
        wait_until(lambda: self.check_health(name) == 0, f"health of {name}")

    def child(self, name: str) -> Child:
        grace = grace_seconds(services()[name])
        made = Child(
            self.command(name, services()[name]["command"]),
            self.where / f"{name}.log",
            environment=self.environment(name),
            grace_seconds=grace,
        )
        self.children[name] = made
        return made

    def _do(self, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, words),
            env=self.environment(name),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The services as compose starts them: redis, init, s3, then the rest."""
    where = tmp_path_factory.mktemp("compose")
    with ExitStack() as stack:
        port = free_port()
        stack.enter_context(_redis(where, port))
        wait_for_redis(port)
        postgres = stack.enter_context(postgres_server())
        ports = {name: free_port() for name in SERVING}
        made = Machine(where, port, free_port(), postgres, ports)
        made.keys.mkdir()
        first = made.start_up("init")
        assert first.returncode == 0, first.stderr
        _create_history(made)
        _as_on_loopback(made)
        (where / "s3" / "darkroom").mkdir(parents=True)
        access, secret = ((made.keys / f"s3_{name}_key").read_text() for name in _S3_KEYS)
        command = s3_command(where / "s3", made.s3)
        environment = s3_environment(access, secret)
        stack.enter_context(Child(command, where / "s3.log", environment=environment))
        wait_for_http(f"http://127.0.0.1:{made.s3}/")
        for name in SERVING:
            stack.enter_context(made.child(name))
        for name in SERVING:
            # they have read the settings, which some tests write
            made.wait_until_healthy(name)
        yield made


_S3_KEYS = ("access", "secret")


def _redis(where: Path, port: int) -> Child:
    """Return the Redis as compose starts it, at home here."""
    (where / "redis").mkdir()
    program, *options = services()["redis"]["command"]
    assert program == "valkey-server"
    home = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(where / "redis")]
    command = [str(valkey_program()), *options, *home]
    return Child(command, where / "redis.log", environment={})


def _create_history(machine: Machine) -> None:
    """Create what the image of PostgreSQL creates at its first start."""
    created = services()["postgres"]["environment"]
    password = (machine.keys / "postgres_password").read_text()
    with psycopg.connect(machine.postgres.url(), autocommit=True) as connection:
        role, database = created["POSTGRES_USER"], created["POSTGRES_DB"]
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {database} OWNER {role}")


def _as_on_loopback(machine: Machine) -> None:
    """Name the sandbox and the history by the addresses that they have here."""
    here = f"http://127.0.0.1:{machine.ports['provider']}"
    history = make_url((machine.keys / "history_url").read_text())
    own = history.set(host="127.0.0.1", port=machine.postgres.port)
    for name, theirs, ours in (
        ("history_url", _shown(history), _shown(own)),
        ("onemin_base_url", "http://provider:8081", here),
        ("onemin_image_hosts", "provider", "127.0.0.1"),
        ("onemin_allow_private_hosts", "provider", "127.0.0.1"),
    ):
        path = machine.keys / name
        assert path.read_text() == theirs
        path.unlink()
        path.write_text(ours)


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def test_every_service_becomes_healthy_and_makes_an_image(machine: Machine) -> None:
    assert {name: machine.check_health(name) for name in SERVING} == dict.fromkeys(SERVING, 0)

    with client(machine) as http:
        job_id = generate(http)
        image = http.get(f"/v1/jobs/{job_id}/image")

    assert image.headers["content-type"] == "image/webp"


def test_a_final_job_moves_to_the_history_and_is_still_there(machine: Machine) -> None:
    with client(machine) as http, redis.Redis(port=machine.redis) as store:
        job_id = generate(http)
        before = http.get(f"/v1/jobs/{job_id}").json()
        store.zadd(keys.archive_due(), {job_id: 1})
        wait_until(lambda: not store.exists(keys.job(job_id)), "the job to leave Redis")
        after = http.get(f"/v1/jobs/{job_id}").json()
        image = http.get(f"/v1/jobs/{job_id}/image")

    history = (machine.keys / "history_url").read_text()
    with psycopg.connect(history) as connection:
        found = connection.execute("SELECT id FROM jobs WHERE id = %s", (job_id,)).fetchall()
    assert found == [(job_id,)]
    assert after == before
    assert image.headers["content-type"] == "image/webp"


def client(machine: Machine) -> httpx.Client:
    headers = {"Authorization": f"Bearer {(machine.keys / 'api_key').read_text()}"}
    url = f"http://127.0.0.1:{machine.ports['api']}"
    return httpx.Client(base_url=url, headers=headers, timeout=60, verify=TLS)


def generate(http: httpx.Client) -> str:
    """Have an image generated; return its job."""
    wait_for_http(str(http.base_url.join("/healthz")))
    wait_until(lambda: http.get("/readyz").status_code == 200, "a ready API")
    asked = {"input": {"prompt": "A lighthouse at dawn", "megapixels": "0.25"}}
    job: dict[str, Any] = http.post("/v1/jobs", json=asked, headers={"Prefer": "wait=30"}).json()
    path = f"/v1/jobs/{job['id']}"
    wait_until(lambda: http.get(path).json()["status"] == "succeeded", "an image")
    return str(job["id"])


WITH_A_KEY = {"DARKROOM_ONEMIN_API_KEY_FILE": "./onemin.key", "DARKROOM_SANDBOX": "0"}


@pytest.fixture
def real_key(machine: Machine) -> Iterator[str]:
    """A key for 1min.ai, there while a test lasts."""
    (machine.where / "onemin.key").write_text("a-real-key\n")
    yield "a-real-key"
    (machine.where / "onemin.key").unlink()
    assert machine.start_up("init").returncode == 0
    _as_on_loopback(machine)


def test_check_provider_says_who_makes_the_images_or_why_nobody_does(machine: Machine) -> None:
    by_sandbox = machine.start_up("check-provider")
    without_a_file = machine.start_up("check-provider", WITH_A_KEY)

    assert (by_sandbox.returncode, by_sandbox.stdout) == (0, "Images are made by the sandbox.\n")
    assert without_a_file.returncode == 2
    assert "./onemin.key (DARKROOM_ONEMIN_API_KEY_FILE) cannot be read" in without_a_file.stderr


@pytest.mark.slow
def test_a_second_start_keeps_the_keys_and_another_key_changes_the_provider(
    machine: Machine, real_key: str
) -> None:
    names = ("s3_access_key", "s3_secret_key", "postgres_password", "api_key", "ops_key")
    before = {name: (machine.keys / name).read_text() for name in names}

    again = machine.start_up("init", WITH_A_KEY)
    checked = machine.start_up("check-provider", WITH_A_KEY)

    assert again.returncode == 0, again.stderr
    assert checked.stdout == "Images are made by 1min.ai.\n"
    assert {name: (machine.keys / name).read_text() for name in names} == before
    assert (machine.keys / "onemin_api_key").read_text() == real_key
    assert (machine.keys / "onemin_base_url").read_text() == "https://api.1min.ai"
    assert real_key not in again.stdout
    modes = {path.stat().st_mode & 0o777 for path in machine.keys.iterdir()}
    assert modes == {0o400}


def test_a_key_that_a_power_loss_left_empty_is_made_again(machine: Machine) -> None:
    key = machine.keys / "api_key"
    before = key.read_text()
    for left in (b"", bytes(len(before))):
        key.unlink()
        key.write_bytes(left)
        again = machine.start_up("init")
        assert again.returncode == 0, again.stderr
        assert key.read_text().startswith("dk_")
        assert key.read_text() != before
    _as_on_loopback(machine)


@pytest.mark.slow
def test_a_stopped_service_ends_by_itself_within_its_grace(machine: Machine) -> None:
    for name in ("worker-generate", "worker-deliver", "api"):
        child = machine.children[name]
        assert child.stop() != -signal.SIGKILL
        assert "Traceback" not in child.said(100)
        child.start()
        # it has read its settings, which other tests write
        machine.wait_until_healthy(name)
