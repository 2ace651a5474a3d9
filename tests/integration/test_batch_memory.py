"""What a large batch costs the process that takes it, and how long it holds Redis at once."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.batches import JOBS_MAX
from shared.settings import inherited_environment
from shared.store import batches, keys
from shared.store.connection import connect
from shared.store.provisioning import provision_tenant
from tests.conftest import InTime
from tests.support.api_server import settings
from tests.support.servers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.support.store import World
from tests.support.tls import TLS

pytestmark = pytest.mark.long
MEMORY_BYTES = 200_000_000
#: For how long one script may keep everybody else waiting.
HELD_MICROSECONDS = 30_000


@pytest.fixture
def api(empty_redis_url: str, tmp_path: Path) -> Iterator[tuple[Child, httpx.Client]]:
    """Serve the API in a process of its own, with a client whose key is a tenant's."""
    port = free_port()
    environment = {
        **inherited_environment(),
        "DARKROOM_REDIS_URL": empty_redis_url,
        "DARKROOM_S3_ACCESS_KEY": ACCESS_KEY,
        "DARKROOM_S3_SECRET_KEY": SECRET_KEY,
        "DARKROOM_S3_BUCKET": BUCKET,
    }
    where = (
        "--factory",
        "api.main:create_app",
        "--http",
        "api.server:LimitedHttpProtocol",
        "--port",
        str(port),
    )
    command = [str(Path(sys.executable).with_name("uvicorn")), *where]
    world = World(empty_redis_url)
    key = provision_tenant(world.store, "acme", by="test").api_key
    world.close()
    headers = {"authorization": f"Bearer {key}"}
    address = f"http://127.0.0.1:{port}"
    with (
        Child(command, tmp_path / "api.log", environment=environment) as child,
        httpx.Client(base_url=address, headers=headers, timeout=100, verify=TLS) as client,
    ):
        wait_until(lambda: is_open(client), "the API to open", seconds=60)
        yield child, client


def is_open(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_ten_thousand_lines_are_taken_within_the_memory_and_in_small_steps(
    api: tuple[Child, httpx.Client], empty_redis_url: str, in_time: InTime
) -> None:
    # given
    child, client = api
    redis = connect(settings(empty_redis_url), connections=1)
    headers = {"content-type": "application/x-ndjson"}
    line = json.dumps({"input": {"prompt": "p" * 2900}}).encode() + b"\n"
    before = psutil.Process(child.pid).memory_info().rss
    # when
    redis.config_resetstat()
    redis.config_set("slowlog-log-slower-than", HELD_MICROSECONDS)
    redis.slowlog_reset()
    answer = client.post("/v1/batches", content=line * JOBS_MAX, headers=headers)
    # then
    assert answer.status_code == 202
    assert answer.json()["total"] == JOBS_MAX
    grown = psutil.Process(child.pid).memory_info().rss - before
    assert peak_bytes(child.pid) < MEMORY_BYTES
    assert grown < MEMORY_BYTES / 4
    wait_until(lambda: not redis.exists(keys.batch_work()), "the batch to be laid out", seconds=60)
    # each script a bounded piece: stages, commit, laying out, and what the API asks every second
    steps = redis.info("commandstats")["cmdstat_fcall"]["calls"]
    assert steps >= JOBS_MAX / batches.CHUNK_JOBS + JOBS_MAX / batches.CHUNK_LAID + 1
    # none of which holds Redis for long, on a machine that is free to say so
    in_time(max((one["duration"] for one in redis.slowlog_get(128)), default=0), HELD_MICROSECONDS)
    # and one bad line at the end takes everything back
    bad = line * (JOBS_MAX - 1) + b'{"input":{"prompt":7}}\n'
    answer = client.post("/v1/batches", content=bad, headers=headers)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [f"/line/{JOBS_MAX}/input/prompt"]
    assert peak_bytes(child.pid) < MEMORY_BYTES
    wait_until(
        lambda: not redis.exists(keys.batch_work()), "the stage to be taken away", seconds=60
    )
    assert redis.hget(keys.counts(), "queued") == str(JOBS_MAX)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had resident; what it has now but on Linux."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return int(psutil.Process(pid).memory_info().rss)
    told = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(told["VmHWM"].split()[0]) * 1024
