"""An archived job over HTTP: everything that works on a final job in Redis works on it."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import update

from shared.history import tables
from shared.store import keys
from tests.integration.conftest import Open
from tests.integration.test_api_batches import accepted, ask, prompts, wait_until_laid_out
from tests.integration.test_api_events import follow
from tests.support.api_server import ApiServer, problem, tenant_at
from tests.support.history_service import (
    BYTES,
    TENANT,
    HistoryService,
    history_service,
    listed,
)
from tests.support.servers import S3Server

STATUSES = ("succeeded", "failed", "canceled")
REPLICATE = "/replicate/v1/predictions"
SAME: dict[str, Any] = {"input": {"prompt": "A lighthouse at dawn", "seed": 7}}


@pytest.fixture
def service(empty_redis_url: str, history_url: str, s3: S3Server) -> Iterator[HistoryService]:
    with history_service(empty_redis_url, history_url, s3) as service:
        yield service


@pytest.fixture
def other(service: HistoryService) -> Iterator[ApiServer]:
    """Another tenant at the same API."""
    settings = service.history.world.settings
    history = {"history_url": settings.history_url}
    with tenant_at(service.api.url, settings.redis_url, **history) as other:
        yield other


def essence(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Return an answer without what differs between any two."""
    own = {"date", "x-request-id", "server"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return answer.status_code, headers, answer.content


# reading a job -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
def test_an_archived_job_reads_as_before_on_every_route(
    service: HistoryService, status: str
) -> None:
    job_id = service.end(status, metadata={"order": "A-17"}, tags=["a", "b"])
    etag = service.client.get(f"/v1/jobs/{job_id}").headers["etag"]
    one = f"/v1/jobs/{job_id}"

    def read() -> list[tuple[int, dict[str, str], bytes]]:
        get, head = service.client.get, service.client.head
        answers = [
            get(one),
            head(one),
            get(one, headers={"if-none-match": etag}),
            get(one, headers={"if-none-match": 'W/"1"'}),
            # held, it would outlast the client's time limit
            get(one, params={"wait": 60}),
            get(one, params={"wait": 60}, headers={"if-none-match": 'W/"1"'}),
            get(f"{one}/events"),
            get(f"{one}/events", headers={"last-event-id": "1"}),
            get(f"{one}/events", headers={"last-event-id": "99"}),
            head(f"{one}/events"),
            get(f"{one}/image"),
            head(f"{one}/image"),
            get(f"{one}/image", headers={"range": "bytes=10-19"}),
            get(f"{REPLICATE}/{job_id}"),
            service.operator.get(f"/ops/v1/jobs/{job_id}"),
        ]
        return [essence(answer) for answer in answers]

    before = read()
    service.archive()
    assert service.is_only_archived(job_id)
    after = read()

    # the ids of the requests are in the problems only
    assert [one[:2] for one in after] == [one[:2] for one in before]
    assert [one[2] for one in after if one[0] < 400] == [one[2] for one in before if one[0] < 400]
    assert [one[0] for one in after[:4]] == [200, 200, 304, 200]
    assert after[10][0] == (200 if status == "succeeded" else 404)


def test_a_wait_for_a_change_of_an_archived_job_ends_unchanged(service: HistoryService) -> None:
    job_id = service.end()
    service.archive()
    etag = service.client.get(f"/v1/jobs/{job_id}").headers["etag"]
    answer = service.client.get(
        f"/v1/jobs/{job_id}", params={"wait": 1}, headers={"if-none-match": etag}
    )
    assert (answer.status_code, answer.headers["etag"]) == (304, etag)


def test_another_tenant_finds_no_archived_job(service: HistoryService, other: ApiServer) -> None:
    job_id = service.end()
    service.archive()
    for method, path in (
        *(("GET", ""), ("GET", "/events"), ("GET", "/image"), ("DELETE", "")),
        *(("POST", "/cancel"), ("POST", "/retry"), ("POST", "/reproduce")),
    ):
        answer = other.client.request(method, f"/v1/jobs/{job_id}{path}")
        problem(answer, 404, "not_found")
    assert other.client.head(f"/v1/jobs/{job_id}").status_code == 404
    assert other.client.get(f"{REPLICATE}/{job_id}").status_code == 404
    assert listed(other.client) == []
    assert service.is_only_archived(job_id)


def test_the_events_of_an_archived_job_are_replayed_and_resumed(service: HistoryService) -> None:
    job_id = service.end()
    live = follow(service.api, job_id)
    service.archive()
    assert follow(service.api, job_id) == live
    assert [name for _, name, _ in live][-1] == "succeeded"
    for cut in range(1, len(live)):
        first = follow(service.api, job_id, most=cut)
        assert first + follow(service.api, job_id, after=cut) == live


def test_the_image_of_an_archived_job_opens_in_every_way(service: HistoryService) -> None:
    job_id = service.end()
    service.archive()
    path = f"/v1/jobs/{job_id}/image"

    assert service.client.get(path).content == BYTES
    part = service.client.get(path, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, BYTES[100:200])
    etag = service.client.head(path).headers["etag"]
    assert service.client.get(path, headers={"if-none-match": etag}).status_code == 304
    signed = urlsplit(service.job(job_id)["image"]["url"])
    assert httpx.get(f"{service.api.url}{signed.path}?{signed.query}").content == BYTES
    problem(httpx.get(f"{service.api.url}{path}"), 401, "unauthenticated")
    redirect = service.client.get(path, params={"redirect": 1})
    assert redirect.status_code == 302
    assert httpx.get(redirect.headers["location"]).content == BYTES


# batches -----------------------------------------------------------------------------------------


def ended_batch(service: HistoryService, *statuses: str, **batch: Any) -> tuple[str, list[str]]:
    """Create a batch of jobs that end so; return its id and theirs, in the order of the request."""
    body = {"jobs": prompts(len(statuses)), **batch}
    batch_id = str(accepted(ask(service.api, body))["id"])
    wait_until_laid_out(service.api)
    # this list needs no history
    job_ids = listed(service.client, batch_id=batch_id, status="queued")[::-1]
    for job_id, status in zip(job_ids, statuses, strict=True):
        service.end_next(status, job_id)
    return batch_id, job_ids


def read_batch(service: HistoryService, batch_id: str) -> dict[str, Any]:
    """Read a batch on every route that shows it."""
    path = f"/v1/batches/{batch_id}"
    manifest = service.client.get(f"{path}/manifest")
    zipped = service.client.get(f"{path}/manifest", params={"format": "zip"})
    assert manifest.status_code == zipped.status_code == 200
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    shown = service.client.get(path)
    assert shown.status_code == 200
    return {
        "batch": shown.json(),
        "listed": service.client.get("/v1/batches").json(),
        "manifest": [json.loads(line) for line in manifest.text.splitlines()],
        "files": files,
        "jobs": listed(service.client, batch_id=batch_id, limit=2),
    }


def test_a_batch_reads_the_same_while_its_jobs_move_to_the_history(service: HistoryService) -> None:
    batch_id, jobs = ended_batch(service, "succeeded", "failed", "canceled", "succeeded")
    live = read_batch(service, batch_id)
    assert live["batch"]["counts"] == {
        **dict.fromkeys(("queued", "running"), 0),
        **dict.fromkeys(("failed", "canceled"), 1),
        "succeeded": 2,
    }
    assert len(live["files"]) == 3
    for job_id in (jobs[1], jobs[3], jobs[0], jobs[2]):
        service.archive(job_id)
        assert service.is_only_archived(job_id)
        assert read_batch(service, batch_id) == live
    assert not service.history.world.client.exists(keys.batch(batch_id))
    problem(service.client.post(f"/v1/batches/{batch_id}/cancel"), 409, "batch_final")


def test_batches_are_listed_over_both_with_one_cursor(service: HistoryService) -> None:
    batches = [ended_batch(service, "canceled") for _ in range(5)]
    newest_first = listed(service.client, "/v1/batches", limit=200)
    assert sorted(newest_first) == sorted(batch_id for batch_id, _ in batches)
    for _, (job_id,) in batches[::2]:
        service.archive(job_id)
    for limit in (1, 2, 50):
        assert listed(service.client, "/v1/batches", limit=limit) == newest_first


def test_a_retried_job_of_an_archived_batch_counts_again(service: HistoryService) -> None:
    batch_id, jobs = ended_batch(service, "failed", "succeeded")
    service.archive()
    assert service.client.post(f"/v1/jobs/{jobs[0]}/retry").status_code == 200
    counts = service.client.get(f"/v1/batches/{batch_id}").json()["counts"]
    assert (counts["queued"], counts["failed"], counts["succeeded"]) == (1, 0, 1)
    service.end_next("succeeded", jobs[0])
    live = read_batch(service, batch_id)
    assert live["batch"]["counts"]["succeeded"] == 2
    service.archive()
    assert read_batch(service, batch_id) == live


def test_a_batch_whose_jobs_are_all_deleted_is_gone(service: HistoryService) -> None:
    batch_id, jobs = ended_batch(service, "succeeded", "failed")
    service.archive()
    assert service.client.delete(f"/v1/jobs/{jobs[0]}").status_code == 204
    manifest = service.client.get(f"/v1/batches/{batch_id}/manifest").text.splitlines()
    assert [json.loads(line)["id"] for line in manifest] == [jobs[1]]
    assert service.client.delete(f"/v1/jobs/{jobs[1]}").status_code == 204
    # the archiver deletes a batch with the last of its jobs
    service.archive()
    problem(service.client.get(f"/v1/batches/{batch_id}"), 404, "not_found")
    assert listed(service.client, "/v1/batches") == []


# changing a job ----------------------------------------------------------------------------------


def test_a_retried_job_runs_and_is_archived_again_once(service: HistoryService) -> None:
    job_id = service.end("failed", tags=["a"])
    before = service.job(job_id)
    service.archive()

    retried = service.client.post(f"/v1/jobs/{job_id}/retry")
    assert (retried.status_code, retried.json()["status"]) == (200, "queued")
    assert (retried.json()["run"], retried.json()["version"]) == (2, before["version"] + 1)
    assert listed(service.client) == listed(service.client, status="queued") == [job_id]
    assert listed(service.client, status="failed") == listed(service.client, tag="b") == []

    service.end_next("succeeded", job_id)
    again = service.job(job_id)
    service.archive()
    assert service.is_only_archived(job_id)
    assert service.job(job_id) == again
    assert again["version"] > retried.json()["version"]
    assert service.client.get(f"/v1/jobs/{job_id}/image").content == BYTES
    assert listed(service.client) == [job_id]
    assert listed(service.client, status="succeeded") == listed(service.client, tag="a") == [job_id]
    assert listed(service.client, status="failed") == []
    assert listed(service.client, error_code="provider_rejected") == []


def test_a_retried_job_is_generated_by_a_worker(
    service: HistoryService, open_harness: Open, history_url: str
) -> None:
    harness = open_harness(history_url=history_url)
    job_id = service.end("failed")
    service.archive()
    assert service.client.post(f"/v1/jobs/{job_id}/retry").status_code == 200
    made = harness.finish(job_id)
    assert made.image is not None
    stored = harness.stored(made.image.key)
    service.archive()
    assert service.is_only_archived(job_id)
    assert service.client.get(f"/v1/jobs/{job_id}/image").content == stored
    assert service.job(job_id)["provider"]["calls"] == 1


def test_a_retry_is_refused_as_of_a_live_job(service: HistoryService) -> None:
    succeeded, failed = service.end(), service.end("failed")
    service.archive()
    before = service.job(failed)
    problem(service.client.post(f"/v1/jobs/{succeeded}/retry"), 409, "job_final")
    service.history.world.limit(TENANT, max_queued=1)
    queued = service.api.create()["id"]
    answer = service.client.post(f"/v1/jobs/{failed}/retry")
    assert answer.status_code == 429
    assert service.job(failed) == before
    assert listed(service.client, limit=1) == [queued, failed, succeeded]
    service.archive()
    assert service.is_only_archived(failed)
    assert service.is_only_archived(succeeded)
    assert service.job(failed) == before


def test_a_cancel_is_refused_because_the_job_is_final(service: HistoryService) -> None:
    job_id = service.end()
    live = service.client.post(f"/v1/jobs/{job_id}/cancel")
    service.archive()
    body = problem(service.client.post(f"/v1/jobs/{job_id}/cancel"), 409, "job_final")
    assert body["detail"] == live.json()["detail"]
    prediction = service.client.post(f"{REPLICATE}/{job_id}/cancel")
    assert (prediction.status_code, prediction.json()["status"]) == (200, "succeeded")
    assert service.is_only_archived(job_id)


def test_an_archived_job_is_reproduced(service: HistoryService) -> None:
    job_id = service.end(**SAME, tags=["a"], metadata={"order": "A-17"})
    source = service.job(job_id)
    service.archive()
    answer = service.client.post(f"/v1/jobs/{job_id}/reproduce")
    assert answer.status_code == 202
    for field in ("input", "model", "tags", "metadata", "webhook"):
        assert answer.json()[field] == source[field]
    assert listed(service.client) == [answer.json()["id"], job_id]


def test_an_archived_image_is_reused(service: HistoryService) -> None:
    source = service.end(**SAME)
    service.archive()
    estimate = service.client.post("/v1/jobs", json={**SAME, "reuse": True, "dry_run": True})
    assert estimate.json()["reused_from"] == source
    assert estimate.json()["price"]["credits"] == 0
    job = service.client.post("/v1/jobs", json={**SAME, "reuse": True}).json()
    assert (job["status"], job["reused_from"]) == ("succeeded", source)
    service.archive()
    assert service.client.delete(f"/v1/jobs/{source}").status_code == 204
    service.clean()
    assert service.client.get(f"/v1/jobs/{job['id']}/image").content == BYTES
    # the copy is reused in its turn, also when it was brought back, and a deleted image is not
    service.restore(job["id"])
    service.history.world.client.delete(*service.history.world.client.keys("[{]dr}:reuse:*"))
    again = service.client.post("/v1/jobs", json={**SAME, "reuse": True}).json()
    assert again["reused_from"] == job["id"]
    for job_id in (job["id"], again["id"]):
        assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert service.api.create(**SAME, reuse=True)["reused_from"] is None


def test_of_archived_images_the_newest_that_exists_is_reused(service: HistoryService) -> None:
    older, newest = service.end(**SAME), service.end(**SAME)
    service.archive()
    assert service.client.delete(f"/v1/jobs/{newest}").status_code == 204
    estimate = service.client.post("/v1/jobs", json={**SAME, "reuse": True, "dry_run": True})
    assert estimate.json()["reused_from"] == older


def test_an_idempotency_key_returns_its_archived_job_until_it_is_deleted(
    service: HistoryService,
) -> None:
    headers = {"idempotency-key": "order-17"}
    job_id = service.client.post("/v1/jobs", json=SAME, headers=headers).json()["id"]
    service.end_next("succeeded", job_id)
    service.archive()

    replayed = service.client.post("/v1/jobs", json=SAME, headers=headers)
    assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (202, "true")
    assert replayed.json() == service.job(job_id)
    waited = service.client.post("/v1/jobs", json=SAME, headers={**headers, "prefer": "wait=60"})
    assert (waited.status_code, waited.json()["id"]) == (200, job_id)
    other = {"input": {"prompt": "A pier"}}
    problem(
        service.client.post("/v1/jobs", json=other, headers=headers), 422, "idempotency_key_reused"
    )

    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    problem(service.client.post("/v1/jobs", json=SAME, headers=headers), 410, "job_deleted")
    service.archive()
    problem(service.client.post("/v1/jobs", json=SAME, headers=headers), 410, "job_deleted")


def test_an_idempotency_key_returns_its_archived_batch(service: HistoryService) -> None:
    headers = {"idempotency-key": "order-17"}
    body = {"jobs": prompts(2)}
    first = ask(service.api, body, **headers).json()
    wait_until_laid_out(service.api)
    for job_id in listed(service.client):
        service.end_next("canceled", job_id)
    service.archive()
    replayed = ask(service.api, body, **headers)
    assert (replayed.status_code, replayed.json()["id"]) == (202, first["id"])
    assert replayed.headers["idempotent-replayed"] == "true"
    assert replayed.json()["counts"]["canceled"] == 2


def test_a_retry_of_openai_s_client_joins_an_archived_job(
    empty_redis_url: str, history_url: str, s3: S3Server
) -> None:
    with history_service(empty_redis_url, history_url, s3, openai_wait_seconds=0.2) as service:

        def ask_openai(retries: int) -> httpx.Response:
            body = {"prompt": "A pier", "size": "512x512", "response_format": "b64_json"}
            headers = {"x-stainless-retry-count": str(retries)}
            return service.client.post("/openai/v1/images/generations", json=body, headers=headers)

        late = ask_openai(0)
        assert late.status_code == 504
        (job_id,) = late.json()["error"]["job_ids"]
        service.end_next("succeeded", job_id)
        service.archive()
        joined = ask_openai(1)
        assert joined.status_code == 200
        assert base64.b64decode(joined.json()["data"][0]["b64_json"]) == BYTES
        assert listed(service.client) == [job_id]


# deleting ----------------------------------------------------------------------------------------


def assert_gone(service: HistoryService, job_id: str, delivery_id: str) -> None:
    """Check that no route and no list has anything of a job."""
    one = f"/v1/jobs/{job_id}"
    for method, path in (
        *(("GET", one), ("GET", f"{one}/events"), ("GET", f"{one}/image"), ("DELETE", one)),
        *(("POST", f"{one}/cancel"), ("POST", f"{one}/retry"), ("POST", f"{one}/reproduce")),
        ("GET", f"/v1/webhooks/deliveries/{delivery_id}"),
        ("POST", f"/v1/webhooks/deliveries/{delivery_id}/redeliver"),
    ):
        problem(service.client.request(method, path), 404, "not_found")
    for path in (f"{REPLICATE}/{job_id}", one, f"{one}/events", f"{one}/image"):
        assert service.client.head(path).status_code in {404, 405}
    assert service.client.get(f"{REPLICATE}/{job_id}").status_code == 404
    assert service.client.post(f"{REPLICATE}/{job_id}/cancel").status_code == 404
    problem(service.operator.get(f"/ops/v1/jobs/{job_id}"), 404, "not_found")
    problem(service.operator.get(f"/ops/v1/deliveries/{delivery_id}"), 404, "not_found")
    for query in ({}, {"status": "canceled"}, {"tag": "a"}):
        assert job_id not in listed(service.client, **dict[str, Any](query))
    assert job_id not in listed(service.operator, "/ops/v1/jobs", id=job_id)
    assert listed(service.client, "/v1/webhooks/deliveries", job_id=job_id) == []
    assert delivery_id not in listed(service.client, "/v1/webhooks/deliveries")
    assert delivery_id not in listed(service.operator, "/ops/v1/deliveries")


def end_with_delivery(service: HistoryService) -> tuple[str, str]:
    """Create a job that ends, and settle its delivery; return both ids."""
    webhook = {"url": "https://hooks.example/a"}
    job_id = service.end("canceled", tags=["a"], webhook=webhook)
    return job_id, service.deliver_next()


@pytest.mark.parametrize("is_restored", [False, True])
def test_a_deleted_job_is_gone_at_once_and_everywhere(
    service: HistoryService,
    is_restored: bool,  # noqa: FBT001
) -> None:
    (job_id, delivery_id), (kept, kept_delivery) = (end_with_delivery(service) for _ in range(2))
    service.archive()
    if is_restored:
        service.restore(job_id)
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    # the history still has it
    assert service.history.is_archived(job_id)
    assert_gone(service, job_id, delivery_id)
    assert listed(service.client) == [kept]
    assert listed(service.client, "/v1/webhooks/deliveries") == [kept_delivery]
    service.archive()
    assert not service.history.is_archived(job_id)
    assert_gone(service, job_id, delivery_id)
    assert service.is_only_archived(kept)


def test_a_job_stays_deleted_where_the_archiver_stopped_in_between(
    service: HistoryService,
) -> None:
    job_id, delivery_id = end_with_delivery(service)
    service.archive()
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    service.history.come_due()
    # it stopped after the database had committed: Redis does not know that the job is deleted
    service.history.archiver.writer.delete([job_id])
    assert service.history.world.client.zscore(keys.history_deletions(), job_id) is not None
    assert_gone(service, job_id, delivery_id)
    service.archive()
    assert_gone(service, job_id, delivery_id)
    assert service.history.world.client.zcard(keys.history_deletions()) == 0


def test_the_image_of_a_deleted_archived_job_is_deleted(service: HistoryService) -> None:
    job_id, kept = service.end(), service.end()
    keys_of = {one: service.job(one)["image"]["key"] for one in (job_id, kept)}
    url = service.job(job_id)["image"]["url"]
    service.archive()
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    service.clean()
    assert not service.is_stored(keys_of[job_id])
    assert service.is_stored(keys_of[kept])
    signed = urlsplit(url)
    problem(httpx.get(f"{service.api.url}{signed.path}?{signed.query}"), 404, "not_found")


# prompts that are not archived -------------------------------------------------------------------


def test_a_job_archived_without_its_prompt_says_so_and_is_not_repeated(
    service: HistoryService,
) -> None:
    tenant = f"/ops/v1/tenants/{TENANT}"
    assert service.operator.get(tenant).json()["archive_prompts"] is True
    changed = service.operator.patch(tenant, json={"archive_prompts": False})
    assert changed.json()["archive_prompts"] is False
    webhook = {"url": "http://127.0.0.1:9/", "events": ["job.failed"]}
    job_id = service.end("failed", **SAME, webhook=webhook)
    one = f"/v1/jobs/{job_id}"
    before = service.client.get(one)
    assert before.json()["prompt_withheld"] is False
    delivery_id = service.deliver_next()
    service.archive()

    after = service.client.get(one, headers={"if-none-match": before.headers["etag"]})

    assert after.status_code == 200
    assert after.json()["prompt_withheld"] is True
    assert "prompt" not in after.json()["input"]
    assert listed(service.client, status="failed") == [job_id]
    prediction = service.client.get(f"{REPLICATE}/{job_id}").json()
    assert ("prompt" in prediction["input"], prediction["data_removed"]) == (False, True)
    for action in ("retry", "reproduce"):
        refused = problem(service.client.post(f"{one}/{action}"), 409, "prompt_withheld")
        assert refused["job_id"] == job_id
    bulk = {"filter": {"id": job_id}, "expected_count": 1}
    moved = service.operator.post("/ops/v1/jobs/retry", json=bulk).json()
    assert moved["refused"] == {"prompt_withheld": 1}
    again = service.client.post(f"/v1/webhooks/deliveries/{delivery_id}/redeliver")
    assert again.status_code == 202


# retention ---------------------------------------------------------------------------------------


def end_retention(service: HistoryService, column: str, *job_ids: str) -> None:
    """Let the retention of these jobs end, and delete what is past it."""
    history = service.history
    with history.database.writing() as connection:
        changed = update(tables.jobs).where(tables.jobs.c.id.in_(job_ids)).values({column: 1})
        connection.execute(changed)
    # a new one looks at once
    history.archiver = history.new_archiver("worker-1")
    while history.archiver.archive():
        pass
    service.clean()


def test_an_image_past_its_retention_is_deleted_and_its_job_kept(
    empty_redis_url: str, history_url: str, s3: S3Server
) -> None:
    with history_service(
        empty_redis_url, history_url, s3, image_retention_seconds=86_400
    ) as service:
        job_id, kept = service.end(**SAME), service.end()
        before = service.job(job_id)
        assert before["image"]["expires_at"] > before["finished_at"]
        assert (before["expires_at"], before["image"]["deleted_at"]) == (None, None)
        service.archive()
        assert service.job(job_id) == before

        end_retention(service, "image_expires", job_id)

        after = service.job(job_id)
        assert after["image"]["deleted_at"] is not None
        assert after["image"]["expires_at"] == after["image"]["deleted_at"]
        assert after["version"] == before["version"] + 1
        same = {"image": None, "version": 0}
        assert {**after, **same} == {**before, **same}
        known = {"if-none-match": f'W/"{before["version"]}"'}
        assert service.client.get(f"/v1/jobs/{job_id}", headers=known).status_code == 200
        for field in ("sha256", "bytes", "width", "height", "key"):
            assert after["image"][field] == before["image"][field]
        assert not service.is_stored(before["image"]["key"])
        signed = urlsplit(before["image"]["url"])
        for answer in (
            service.client.get(f"/v1/jobs/{job_id}/image"),
            service.client.get(f"/v1/jobs/{job_id}/image", params={"redirect": 1}),
            httpx.get(f"{service.api.url}{signed.path}?{signed.query}"),
        ):
            problem(answer, 410, "image_deleted")
        assert service.client.head(f"/v1/jobs/{job_id}/image").status_code == 410
        assert listed(service.client, status="succeeded") == [kept, job_id]
        assert service.client.get(f"/v1/jobs/{kept}/image").content == BYTES


def test_a_job_without_its_image_is_repeated_and_not_reused(
    empty_redis_url: str, history_url: str, s3: S3Server
) -> None:
    with history_service(
        empty_redis_url, history_url, s3, image_retention_seconds=86_400
    ) as service:
        job_id = service.end(**SAME)
        service.archive()
        end_retention(service, "image_expires", job_id)

        assert service.api.create(**SAME, reuse=True)["reused_from"] is None
        assert service.client.post(f"/v1/jobs/{job_id}/reproduce").status_code == 202
        prediction = service.client.get(f"{REPLICATE}/{job_id}")
        assert (prediction.status_code, prediction.json()["output"]) == (200, None)
        assert prediction.json()["data_removed"] is True


def test_an_image_deleted_by_its_retention_stays_so_when_its_job_is_brought_back(
    empty_redis_url: str, history_url: str, s3: S3Server
) -> None:
    with history_service(
        empty_redis_url, history_url, s3, image_retention_seconds=86_400
    ) as service:
        job_id = service.end(**SAME)
        service.archive()
        end_retention(service, "image_expires", job_id)
        after = service.job(job_id)
        service.restore(job_id)
        assert service.job(job_id) == after
        assert service.api.create(**SAME, reuse=True)["reused_from"] is None
        problem(service.client.get(f"/v1/jobs/{job_id}/image"), 410, "image_deleted")
        service.archive()
        assert service.is_only_archived(job_id)
        assert service.job(job_id) == after


def test_the_manifest_of_a_batch_names_an_image_past_its_retention(
    empty_redis_url: str, history_url: str, s3: S3Server
) -> None:
    with history_service(
        empty_redis_url, history_url, s3, image_retention_seconds=86_400
    ) as service:
        batch_id, job_ids = ended_batch(service, "succeeded", "succeeded")
        service.archive()
        end_retention(service, "image_expires", job_ids[0])
        read = read_batch(service, batch_id)
        names = sorted(read["files"])
        assert names == sorted(["manifest.ndjson", f"{job_ids[1]}.webp"])
        lines = [json.loads(line) for line in read["files"]["manifest.ndjson"].splitlines()]
        assert [bool(line["missing"]) for line in lines] == [True, False]


def test_a_record_past_its_retention_is_deleted_with_its_image(
    empty_redis_url: str, history_url: str, s3: S3Server
) -> None:
    with history_service(
        empty_redis_url, history_url, s3, record_retention_seconds=86_400
    ) as service:
        job_id, kept = service.end(), service.end()
        image = service.job(job_id)["image"]
        assert service.job(job_id)["expires_at"] == image["expires_at"]
        service.archive()
        end_retention(service, "expires", job_id)
        problem(service.client.get(f"/v1/jobs/{job_id}"), 404, "not_found")
        assert listed(service.client) == [kept]
        assert not service.is_stored(image["key"])
        assert service.is_stored(service.job(kept)["image"]["key"])
