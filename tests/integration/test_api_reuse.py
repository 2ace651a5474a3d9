"""`reuse: true` over HTTP: the stored image of an identical request, copied, for nothing."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from tests.support import lying_storage as lies
from tests.support.api_server import ApiServer, client_of, served, settings, tenant_at
from tests.support.lying_storage import Lie, lying_before
from tests.support.servers import S3Server
from tests.support.store import IMAGE

SAME: dict[str, Any] = {"input": {"prompt": "A lighthouse at dawn", "seed": 7}}
BYTES = b"12345"


@contextmanager
def opened(redis_url: str, endpoint: str) -> Iterator[ApiServer]:
    chosen = settings(redis_url, s3_endpoint=endpoint, storage_timeout_seconds=2)
    with served(chosen) as url, tenant_at(url, redis_url) as api_server:
        yield api_server


@pytest.fixture
def api_server(empty_redis_url: str, s3: S3Server) -> Iterator[ApiServer]:
    with opened(empty_redis_url, s3.endpoint) as api_server:
        yield api_server


def make(api_server: ApiServer, s3: S3Server | None) -> str:
    """Let an image be made and stored, as a worker does; return the job."""
    job_id = str(api_server.create(**SAME)["id"])
    key = f"{api_server.tenant}/{job_id}-1.webp"
    if s3:
        s3.client().put_object(s3.bucket, key, BytesIO(BYTES), len(BYTES))
    api_server.succeed(replace(IMAGE, key=key, sha256=hashlib.sha256(BYTES).hexdigest()))
    return job_id


def keys(s3: S3Server, api_server: ApiServer) -> set[str]:
    found = s3.client().list_objects(s3.bucket, f"{api_server.tenant}/", recursive=True)
    return {str(entry.object_name) for entry in found}


def test_an_identical_request_has_the_stored_image_at_once(
    api_server: ApiServer, s3: S3Server
) -> None:
    source = make(api_server, s3)
    answer = api_server.client.post("/v1/jobs", json={**SAME, "reuse": True, "tags": ["again"]})
    job = answer.json()
    assert answer.status_code == 202
    assert (job["status"], job["reused_from"]) == ("succeeded", source)
    assert (job["provider"]["calls"], job["tags"]) == (0, ["again"])
    assert job["image"]["key"] in keys(s3, api_server)
    # it is its own: the source may go
    assert api_server.client.delete(f"/v1/jobs/{source}").status_code == 204
    assert api_server.client.get(f"/v1/jobs/{job['id']}/image").content == BYTES
    assert api_server.client.get("/v1/usage").json()["days"][0]["calls"] == 1
    # and with a wait it is final, without one
    body = {**SAME, "reuse": True}
    waited = api_server.client.post("/v1/jobs", json=body, headers={"prefer": "wait=5"})
    assert (waited.status_code, waited.json()["reused_from"]) == (200, job["id"])


def test_without_reuse_the_image_is_made_again(api_server: ApiServer, s3: S3Server) -> None:
    make(api_server, s3)
    assert api_server.create(**SAME)["status"] == "queued"


def test_a_dry_run_says_that_it_would_cost_nothing(api_server: ApiServer, s3: S3Server) -> None:
    source = make(api_server, s3)
    told = api_server.client.post("/v1/jobs", json={**SAME, "reuse": True, "dry_run": True}).json()
    assert (told["reused_from"], told["price"]) == (source, {"credits": 0, "estimated": True})
    assert len(keys(s3, api_server)) == 1


def test_where_the_object_is_gone_the_image_is_made_again(
    api_server: ApiServer, s3: S3Server
) -> None:
    make(api_server, None)
    job = api_server.create(**SAME, reuse=True)
    assert (job["status"], job["reused_from"]) == ("queued", None)
    # what might have been copied is deleted in time
    assert [key.split("-")[-1] for key in api_server.world.object_deletions()] == ["0.webp"]


def test_where_the_storage_is_away_the_image_is_made_again(empty_redis_url: str) -> None:
    with opened(empty_redis_url, "127.0.0.1:1") as api_server:
        make(api_server, None)
        assert api_server.create(**SAME, reuse=True)["status"] == "queued"


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("GET", lies.flipped),
        ("GET", lies.half),
        ("PUT", lies.keeps_nothing),
        ("PUT", lies.keeps_half),
        ("PUT", lies.error_in_a_200),
    ],
)
def test_where_the_storage_lies_the_image_is_made_again(
    empty_redis_url: str, s3: S3Server, method: str, lie: Lie
) -> None:
    with lying_before(s3) as liar, opened(empty_redis_url, liar.server.endpoint) as api_server:
        source = make(api_server, s3)
        liar.lie(method, lie)
        assert api_server.create(**SAME, reuse=True)["status"] == "queued"
        # and when it is honest
        liar.stop_lying()
        assert api_server.create(**SAME, reuse=True)["reused_from"] == source


def test_a_key_sent_twice_copies_once(api_server: ApiServer, s3: S3Server) -> None:
    make(api_server, s3)
    key = {"idempotency-key": "once"}
    answers = [
        api_server.client.post("/v1/jobs", json={**SAME, "reuse": True}, headers=key)
        for _ in range(3)
    ]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(keys(s3, api_server)) == 2
    assert api_server.world.object_deletions() == {}


def test_another_tenants_image_is_not_reused(api_server: ApiServer, s3: S3Server) -> None:
    make(api_server, s3)
    with tenant_at(api_server.url, f"{api_server.world.settings.redis_url}") as other:
        assert (
            client_of(other.url, other.credentials.api_key)
            .post("/v1/jobs", json={**SAME, "reuse": True})
            .json()["reused_from"]
            is None
        )
