"""A tenant is deleted with all it has: nothing of it is in Redis, storage, history or logs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import select

from sandbox.wait import wait_until
from shared.history.tables import metadata
from shared.store import keys
from tests.support.cluster import Cluster, fleet
from tests.support.history import database_at
from tests.support.store import World
from tests.support.tls import TLS

pytestmark = pytest.mark.xdist_group("erased-tenant")

#: In the prompt, the metadata, the tag and the webhook of every job of the tenant, and of no other.
SECRET = "xylotheque"
FEW = {"megapixels": "0.25", "output_format": "webp"}


@dataclass
class Tenants:
    """A service, the tenant that leaves, one that stays, and an operator."""

    here: Cluster
    url: str
    world: World
    leaving: httpx.Client
    staying: httpx.Client
    operator: httpx.Client


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[Tenants]:
    with fleet(tmp_path) as here, ExitStack() as stack:
        here.changes["history_url"] = f"sqlite:///{tmp_path / 'history.db'}"
        api = here.api()
        for queue in ("generate", "deliver"):
            here.worker(queue, threads=16)

        def client(key: str) -> httpx.Client:
            headers = {"Authorization": f"Bearer {key}"}
            made = httpx.Client(base_url=api.url, headers=headers, timeout=60, verify=TLS)
            return stack.enter_context(made)

        operator = client(here.keys.ops_key)
        made = operator.post("/ops/v1/tenants", json={"name": "leaving"}).raise_for_status().json()
        leaving = client(
            operator.post("/ops/v1/tenants/leaving/keys", json={}).raise_for_status().json()["key"]
        )
        assert made["webhook_secret"]
        world = stack.enter_context(closing(World(here.redis.url)))
        yield Tenants(here, api.url, world, leaving, client(here.keys.api_key), operator)


def use(tenants: Tenants, jobs: int) -> None:
    """Let the tenant that leaves use what it can, and have half of its jobs archived."""
    job = {
        "input": {**FEW, "prompt": f"{SECRET} at dawn"},
        "metadata": {"order": SECRET},
        "tags": [SECRET],
    }
    tenants.leaving.post("/v1/batches", json={"jobs": [job] * jobs}).raise_for_status()
    hook = {"url": f"http://127.0.0.1:9/{SECRET}", "events": ["job.succeeded"]}
    created = tenants.leaving.post("/v1/jobs", json={**job, "webhook": hook})
    created.raise_for_status()
    assert tenants.leaving.post("/v1/jobs", json={**job, SECRET: 1}).status_code == 422
    wanted = {"filter": {"tenant": "leaving", "tag": SECRET, "status": "failed"}}
    retried = tenants.operator.post("/ops/v1/jobs/retry", json={**wanted, "expected_count": 0})
    retried.raise_for_status()

    client = tenants.world.client
    final = keys.jobs_by("leaving", "status", "succeeded")
    wait_until(lambda: client.zcard(final) == jobs + 1, "the images", seconds=60 + jobs // 10)
    due = [str(one) for one in client.zrange(final, 0, jobs // 2 - 1)]
    # a job moves once its whole batch may move
    client.zadd(keys.archive_due(), dict.fromkeys(due, 1), xx=True)
    archived = client.zcard(final) - len(due)
    wait_until(lambda: client.zcard(final) <= archived, "the history", seconds=60 + jobs // 10)


def erase(tenants: Tenants, jobs: int) -> None:
    """Delete the tenant, and wait until that is carried out everywhere."""
    answer = tenants.operator.delete("/ops/v1/tenants/leaving")
    answer.raise_for_status()
    path, client = answer.headers["location"], tenants.world.client

    def is_done() -> bool:
        return bool(tenants.operator.get(path).json()["status"] == "done")

    wait_until(is_done, "the erasure", seconds=120 + jobs // 5)
    wait_until(
        lambda: (
            not client.exists(
                keys.history_deletions(), keys.history_tenant_deletions(), keys.object_deletions()
            )
        ),
        "the history and the storage",
        seconds=120 + jobs // 5,
    )


def in_redis(client: "redis.Redis") -> list[str]:
    """Return the keys that contain the secret in their name or value."""
    read: dict[str, Callable[[str], object]] = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda name: client.lrange(name, 0, -1),
        "set": client.smembers,
        "zset": lambda name: client.zrange(name, 0, -1),
        "stream": client.xrange,
    }
    found = []
    for name in map(str, client.scan_iter("*", count=1000)):
        kind = str(client.type(name))
        # a key may expire after it was listed
        value = "" if kind == "none" else read[kind](name)
        if SECRET in f"{name} {value}":
            found.append(f"{name} {value}"[:200])
    return found


def in_history(path: Path) -> list[str]:
    """Return the rows that contain the secret."""
    with closing(database_at(f"sqlite:///{path}")) as database, database.reading() as connection:
        rows = [
            (table.name, row)
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
        ]
    return [f"{name} {row}"[:200] for name, row in rows if SECRET in str(row)]


def nothing_is_left_of_a_deleted_tenant(tenants: Tenants, tmp_path: Path, jobs: int) -> None:
    kept = tenants.staying.post(
        "/v1/jobs",
        json={"input": {**FEW, "prompt": "A pier"}, "tags": ["pier"]},
        headers={"Prefer": "wait=30"},
    ).json()
    use(tenants, jobs)
    assert in_redis(tenants.world.client)
    assert in_history(tmp_path / "history.db")

    erase(tenants, jobs)

    assert in_redis(tenants.world.client) == []
    assert in_history(tmp_path / "history.db") == []
    s3 = tenants.here.s3
    objects = [one.object_name for one in s3.client().list_objects(s3.bucket, recursive=True)]
    assert [name for name in objects if str(name).startswith("leaving/")] == []
    logs = sorted((tmp_path / "logs").glob("*.log"))
    assert len(logs) >= 3
    said = {log.name: log.read_text(errors="replace") for log in logs}
    # the provider is not part of the service
    assert [name for name, text in said.items() if SECRET in text and name != "provider.log"] == []
    assert any("erasure finished" in text for text in said.values())

    job = tenants.staying.get(f"/v1/jobs/{kept['id']}").raise_for_status().json()
    assert (job["status"], job["tags"]) == ("succeeded", ["pier"])
    assert tenants.staying.get(f"/v1/jobs/{kept['id']}/image").status_code == 200
    used = tenants.operator.get("/ops/v1/usage?group_by=tenant").raise_for_status().json()["data"]
    assert {row["tenant"]: row["jobs"] for row in used} == {
        "leaving": jobs + 1,
        tenants.here.keys.tenant: 1,
    }


def test_nothing_is_left_of_a_deleted_tenant(tenants: Tenants, tmp_path: Path) -> None:
    nothing_is_left_of_a_deleted_tenant(tenants, tmp_path, jobs=20)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_left_of_a_deleted_tenant_with_10000_jobs(
    tenants: Tenants, tmp_path: Path
) -> None:
    nothing_is_left_of_a_deleted_tenant(tenants, tmp_path, jobs=9_999)
