"""A version without a history filled this Redis: this version runs on it, with a history."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.store import maintenance
from tests.support.api_server import client_of, served, settings
from tests.support.history import HistoryWorld
from tests.support.history_service import BYTES, TENANT, listed
from tests.support.servers import S3Server

#: What commit e30865a, the last one without a history, left in Redis after its API and its store
#: had brought jobs to each final state, and what its API returned for them.
EARLIER: dict[str, Any] = json.loads(
    Path(__file__).parents[1].joinpath("support/redis_without_history.json").read_text()
)
JOBS: list[dict[str, Any]] = EARLIER["jobs"]
FINAL = [job for job in JOBS if job["finished_at"]]
IMAGES = [job for job in JOBS if job["image"]]
#: Without a history a job is deleted after a week; with one it is kept.
KEPT = {"expires_at": None}


@dataclass(frozen=True)
class Upgraded:
    """The API of this version on the earlier data, and its archiver."""

    client: httpx.Client
    history: HistoryWorld

    def archive(self) -> None:
        """Do what workers do: schedule the final jobs, and move those that are due."""
        for _ in FINAL:
            self.history.world.store.run(maintenance.delete_expired(most=100))
        self.history.archive()

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job, with its image URL relative as in the earlier answers."""
        job: dict[str, Any] = self.client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if job["image"]:
            job["image"]["url"] = httpx.URL(job["image"]["url"]).raw_path.decode()
        return job


@pytest.fixture
def upgraded(empty_redis_url: str, history_url: str, s3: S3Server) -> Iterator[Upgraded]:
    with redis.Redis.from_url(empty_redis_url) as client, client.pipeline() as pipe:
        for command in EARLIER["commands"]:
            pipe.execute_command(*command)
        pipe.execute()
    for job in IMAGES:
        s3.client().put_object(s3.bucket, job["image"]["key"], io.BytesIO(BYTES), len(BYTES))
    history = HistoryWorld(empty_redis_url, history_url)
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, history_url=history_url)
    with served(chosen) as url, client_of(url, EARLIER["api_key"]) as client:
        yield Upgraded(client, history)
    history.close()


def test_jobs_of_a_version_without_a_history_move_to_it_and_read_as_before(
    upgraded: Upgraded,
) -> None:
    upgraded.archive()

    for before in FINAL:
        assert not upgraded.history.is_live(before["id"])
        assert upgraded.history.is_archived(before["id"])
    for before in JOBS:
        job = upgraded.job(before["id"])
        assert subset(job, before) == {**before, **KEPT}
    batch = upgraded.client.get(f"/v1/batches/{EARLIER['batch']['id']}").raise_for_status().json()
    assert subset(batch, EARLIER["batch"]) == EARLIER["batch"]
    assert listed(upgraded.client) == sorted((job["id"] for job in JOBS), reverse=True)
    for wanted in ({"tag": "catalogue"}, {"batch_id": batch["id"]}, {"metadata.order": "A-17"}):
        assert listed(upgraded.client, **wanted) == found(wanted), wanted
    log = upgraded.client.get("/v1/webhooks/deliveries").raise_for_status().json()["data"]
    assert [(one["job_id"], one["status"]) for one in log] == [(FINAL[0]["id"], "delivered")]


def test_images_of_a_version_without_a_history_keep_their_urls(upgraded: Upgraded) -> None:
    upgraded.archive()

    for before in IMAGES:
        earlier = httpx.get(upgraded.client.base_url.join(before["image"]["url"]))
        assert (earlier.status_code, earlier.content) == (200, BYTES)


def test_jobs_of_a_version_without_a_history_can_run_again_and_be_deleted(
    upgraded: Upgraded,
) -> None:
    upgraded.archive()
    failed, canceled = (
        next(job["id"] for job in FINAL if job["status"] == status)
        for status in ("failed", "canceled")
    )

    retried = upgraded.client.post(f"/v1/jobs/{failed}/retry")
    assert retried.status_code == 200, retried.text
    assert upgraded.history.world.read(failed, TENANT).job.run == 2
    assert upgraded.client.delete(f"/v1/jobs/{canceled}").status_code == 204
    assert upgraded.client.get(f"/v1/jobs/{canceled}").status_code == 404


def subset(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return the members that the earlier version had, also of members."""
    return {
        name: subset(now[name], value) if isinstance(value, dict) else now[name]
        for name, value in before.items()
    }


def found(wanted: dict[str, str]) -> list[str]:
    """Return the ids of the earlier jobs that a query finds, newest first."""
    ((name, value),) = wanted.items()
    ids = [
        job["id"]
        for job in JOBS
        if value in (job["batch_id"], *job["tags"])
        or job["metadata"].get(name.removeprefix("metadata.")) == value
    ]
    return sorted(ids, reverse=True)
