"""What works while the history is away, and that nothing is missing when it is back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.errors import HistoryDown
from shared.store import keys
from tests.integration.test_api_batches import accepted, ask, prompts, wait_until_laid_out
from tests.integration.test_api_events import follow
from tests.integration.test_api_history import REPLICATE, SAME, ended_batch
from tests.integration.test_api_history_webhooks import DELIVERIES, OF_ALL
from tests.support.api_server import problem
from tests.support.history_service import BYTES, HistoryService, history_service, listed
from tests.support.postgres import PostgresServer
from tests.support.servers import S3Server

NEVER = "job_01m00000000000000000000000"
NEVER_BATCH = "batch_01m00000000000000000000000"
NEVER_SENT = "msg_01m00000000000000000000000_1_succeeded"


@pytest.fixture
def service(empty_redis_url: str, history_url: str, s3: S3Server) -> Iterator[HistoryService]:
    with history_service(empty_redis_url, history_url, s3, history_timeout_seconds=2) as service:
        yield service


@pytest.fixture
def server(request: pytest.FixtureRequest, history_url: str) -> PostgresServer | None:
    """Return the server of the history; None for SQLite."""
    if history_url.startswith("sqlite"):
        return None
    found: PostgresServer = request.getfixturevalue("postgres")
    return found


@contextmanager
def away(service: HistoryService, server: PostgresServer | None) -> Iterator[None]:
    """Take the history away: PostgreSQL is killed under the API, or SQLite's folder not mounted.

    In the second case the API has not opened the file yet.
    """
    if server:
        listed(service.client)
        server.child.kill()
        try:
            yield
        finally:
            server.start()
        return
    service.history.archiver.writer.check()
    # closing the last connection leaves only the file itself
    service.history.database.close()
    file = Path(str(service.history.database.engine.url.database))
    file = file.rename(file.with_suffix(".away"))
    place = file.with_suffix(".db")
    place.mkdir()
    try:
        yield
    finally:
        place.rmdir()
        file.rename(place)


def unavailable(answer: httpx.Response) -> None:
    """Check that an answer says that the history is away."""
    problem(answer, 503, "history_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


def post(client: httpx.Client, path: str, **body: Any) -> httpx.Response:
    return client.post(path, json=body)


def test_jobs_are_accepted_and_read_while_the_history_is_away(
    service: HistoryService, server: PostgresServer | None
) -> None:
    service.archive(service.end())
    ended = service.end(**SAME)
    client = service.client
    with away(service, server):
        key = {"idempotency-key": "order-17"}
        created = client.post("/v1/jobs", json=SAME, headers=key)
        assert created.status_code == 202
        job_id = created.json()["id"]
        replayed = client.post("/v1/jobs", json=SAME, headers=key)
        assert (replayed.status_code, replayed.json()["id"]) == (202, job_id)
        batch = accepted(ask(service.api, {"jobs": prompts(2)}))
        wait_until_laid_out(service.api)
        assert client.get(f"/v1/batches/{batch['id']}").json()["counts"]["queued"] == 2
        assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"
        assert client.get(f"/v1/jobs/{job_id}", params={"wait": 1}).status_code == 200
        assert client.get(f"/v1/jobs/{ended}").json()["status"] == "succeeded"
        assert client.get(f"/v1/jobs/{ended}/image").content == BYTES
        assert follow(service.api, ended)[-1][1] == "succeeded"
        assert client.get(f"{REPLICATE}/{ended}").status_code == 200
        for path in ("/readyz", "/healthz", "/metrics"):
            assert httpx.get(f"{service.api.url}{path}").status_code == 200


def test_live_jobs_are_changed_while_the_history_is_away(
    service: HistoryService, server: PostgresServer | None
) -> None:
    ended, failed, deleted = service.end(), service.end("failed"), service.end("canceled")
    queued = service.api.create()["id"]
    batch = accepted(ask(service.api, {"jobs": prompts(2)}))
    client = service.client
    with away(service, server):
        assert client.post(f"/v1/jobs/{ended}/reproduce").status_code == 202
        assert client.post(f"/v1/jobs/{queued}/cancel").json()["status"] == "canceled"
        problem(client.post(f"/v1/jobs/{ended}/cancel"), 409, "job_final")
        problem(client.post(f"/v1/jobs/{ended}/retry"), 409, "job_final")
        assert client.post(f"/v1/batches/{batch['id']}/cancel").status_code == 200
        assert client.post(f"/v1/jobs/{failed}/retry").json()["status"] == "queued"
        assert client.delete(f"/v1/jobs/{deleted}").status_code == 204


def test_a_list_of_jobs_that_are_not_final_needs_no_history(
    service: HistoryService, server: PostgresServer | None
) -> None:
    jobs = [service.api.create()["id"] for _ in range(3)][::-1]
    with away(service, server):
        assert listed(service.client, status="queued", limit=1) == jobs
        assert listed(service.client, status="running") == []
        assert listed(service.operator, "/ops/v1/jobs", status="queued", tenant="acme") == jobs
        assert service.operator.get("/ops/v1/queues").status_code == 200
        canceled = {"filter": {"tenant": "acme"}, "expected_count": 3}
        answer = service.operator.post("/ops/v1/jobs/cancel", json=canceled)
        assert answer.json()["moved"] == 3


def test_a_job_that_may_be_archived_is_unavailable_and_not_missing(
    service: HistoryService, server: PostgresServer | None
) -> None:
    headers = {"idempotency-key": "order-17"}
    job_id = service.client.post("/v1/jobs", json=SAME, headers=headers).json()["id"]
    service.end_next("succeeded", job_id)
    service.archive()
    with away(service, server):
        for one in (job_id, NEVER):
            path = f"/v1/jobs/{one}"
            for found in (path, f"{path}/events", f"{path}/image"):
                unavailable(service.client.get(found))
            for action in ("cancel", "retry", "reproduce"):
                unavailable(service.client.post(f"{path}/{action}"))
            unavailable(service.client.delete(path))
            unavailable(service.operator.get(f"/ops/v1/jobs/{one}"))
            assert service.client.get(f"{REPLICATE}/{one}").status_code == 503
        unavailable(service.client.post("/v1/jobs", json=SAME, headers=headers))
    # all is there again, without a restart
    assert service.job(job_id)["status"] == "succeeded"
    assert service.client.get(f"/v1/jobs/{job_id}/image").content == BYTES
    problem(service.client.get(f"/v1/jobs/{NEVER}"), 404, "not_found")
    replayed = service.client.post("/v1/jobs", json=SAME, headers=headers)
    assert replayed.json()["id"] == job_id


def test_no_list_is_shorter_while_the_history_is_away(
    service: HistoryService, server: PostgresServer | None
) -> None:
    batch_id, (job_id,) = ended_batch(service, "canceled")
    service.archive()
    live = service.end("canceled")
    with away(service, server):
        for query in ({}, {"status": "canceled"}, {"tag": "none"}, {"batch_id": batch_id}):
            unavailable(service.client.get("/v1/jobs", params=query))
            unavailable(service.operator.get("/ops/v1/jobs", params=query))
        for one in (batch_id, NEVER_BATCH):
            for end in ("", "/manifest", "/manifest?format=zip"):
                unavailable(service.client.get(f"/v1/batches/{one}{end}"))
            unavailable(service.client.post(f"/v1/batches/{one}/cancel"))
        for path in (
            *("/v1/batches", DELIVERIES, f"{DELIVERIES}?job_id={live}"),
            *(f"{DELIVERIES}?status=failed", f"{DELIVERIES}/{NEVER_SENT}"),
        ):
            unavailable(service.client.get(path))
        unavailable(service.operator.get(OF_ALL))
        assert service.client.get(REPLICATE).status_code == 503
        since = "2026-01-01T00:00:00Z"
        unavailable(post(service.client, "/v1/webhooks/redeliver", since=since))
        unavailable(post(service.operator, "/ops/v1/jobs/retry", filter={}, dry_run=True))
        for query in ({}, {"action": "queue.pause"}, {"after": since}):
            unavailable(service.operator.get("/ops/v1/audit", params=query))
    assert listed(service.client, limit=1) == [live, job_id]
    assert listed(service.client, "/v1/batches") == [batch_id]
    assert service.operator.get("/ops/v1/audit").status_code == 200


def test_the_manifest_of_a_live_batch_is_never_shorter(
    service: HistoryService, server: PostgresServer | None
) -> None:
    batch_id, jobs = ended_batch(service, "canceled", "failed")
    service.archive(jobs[0])
    with away(service, server):
        unavailable(service.client.get(f"/v1/batches/{batch_id}/manifest"))
        unavailable(service.client.get(f"/v1/batches/{batch_id}/manifest?format=zip"))
    manifest = service.client.get(f"/v1/batches/{batch_id}/manifest")
    assert len(manifest.text.splitlines()) == 2


def test_reuse_makes_an_ordinary_job_while_the_history_is_away(
    service: HistoryService, server: PostgresServer | None
) -> None:
    source = service.end(**SAME)
    service.archive()
    with away(service, server):
        job = service.api.create(**SAME, reuse=True)
        assert (job["status"], job["reused_from"]) == ("queued", None)
    assert service.api.create(**SAME, reuse=True)["reused_from"] == source


def test_a_webhook_of_a_live_job_is_sent_again_while_the_history_is_away(
    service: HistoryService, server: PostgresServer | None
) -> None:
    service.end("canceled", webhook={"url": "https://hooks.example/a"})
    delivery_id = service.deliver_next()
    with away(service, server):
        assert service.client.get(f"{DELIVERIES}/{delivery_id}").status_code == 200
        assert service.client.post(f"{DELIVERIES}/{delivery_id}/redeliver").status_code == 202
        assert service.deliver_next() == delivery_id
        assert service.operator.post(f"{OF_ALL}/{delivery_id}/redeliver").status_code == 202


def test_an_event_about_no_job_is_sent_again_while_the_history_is_away(
    service: HistoryService, server: PostgresServer | None
) -> None:
    body = {"url": "https://hooks.example/events", "events": ["endpoint.disabled"]}
    assert post(service.client, "/v1/webhooks/endpoints", **body).status_code == 200
    service.end("canceled", webhook={"url": "https://hooks.example/a"})
    service.deliver_next("gone")
    delivery_id = service.deliver_next()
    with away(service, server):
        event = service.client.get(f"{DELIVERIES}/{delivery_id}").json()
        assert event["type"] == "endpoint.disabled"
        assert service.client.post(f"{DELIVERIES}/{delivery_id}/redeliver").status_code == 202
        assert service.deliver_next() == delivery_id
        assert service.operator.post(f"{OF_ALL}/{delivery_id}/redeliver").status_code == 202


def test_jobs_are_archived_when_the_history_is_back(
    service: HistoryService, server: PostgresServer | None
) -> None:
    job_id = service.end()
    with away(service, server):
        with pytest.raises(HistoryDown):
            service.archive()
        assert service.history.is_live(job_id)
        assert service.job(job_id)["status"] == "succeeded"
    # another worker takes over where this one rests
    service.history.world.client.delete(keys.archiver())
    service.history.come_due()
    while service.history.new_archiver("worker-2").archive():
        pass
    assert service.is_only_archived(job_id)
    assert service.job(job_id)["status"] == "succeeded"
