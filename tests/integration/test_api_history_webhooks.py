"""Webhooks of archived jobs and batches: the log of deliveries, and sending again."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from api.records import Records
from sandbox.wait import wait_until
from shared.store.connection import connect_async
from shared.store.durability import Replicas
from shared.store.group_commit import GroupCommitClient
from tests.integration.test_api_history import ended_batch
from tests.support.api_server import problem
from tests.support.delivery_worker import delivering
from tests.support.history_service import TENANT, HistoryService, history_service, listed
from tests.support.servers import S3Server
from tests.support.webhook_receiver import WebhookReceiver

DELIVERIES = "/v1/webhooks/deliveries"
OF_ALL = "/ops/v1/deliveries"


@pytest.fixture
def service(empty_redis_url: str, history_url: str, s3: S3Server) -> Iterator[HistoryService]:
    with history_service(empty_redis_url, history_url, s3) as service:
        yield service


def deliver(service: HistoryService, received: int, inbox: WebhookReceiver) -> None:
    """Deliver until so many webhooks are received and all deliveries are settled."""
    settings = service.history.world.settings
    with delivering(
        settings.redis_url, webhook_schedule="0,0.01", history_url=settings.history_url
    ):
        wait_until(lambda: len(inbox.received) >= received, "the webhooks", seconds=60)
        wait_until(lambda: all_settled(service), "the end of the attempts", seconds=60)


def all_settled(service: HistoryService) -> bool:
    data = service.client.get(DELIVERIES, params={"limit": 200}).json()["data"]
    return all(one["status"] in {"delivered", "failed"} for one in data)


def read(client: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    """Read a whole list."""
    answer = client.get(path, params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next_cursor"] is None
    return list(answer.json()["data"])


def end_with_deliveries(service: HistoryService, inbox: WebhookReceiver) -> list[str]:
    """End jobs whose webhooks are delivered or fail, each in a second attempt; return their ids."""
    job_ids = []
    for number, script in enumerate(([500], [500, 500], [], [500, 500], [500])):
        inbox.script = [*script]
        webhook = {"url": f"{inbox.url}/{number}?order=A-17"}
        job_ids.append(service.end("canceled", webhook=webhook))
        done = len(inbox.received)
        deliver(service, done + max(len(script), 1), inbox)
    return job_ids


def test_the_log_of_deliveries_reads_the_same_from_both(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    job_ids = end_with_deliveries(service, inbox)
    searches: list[dict[str, Any]] = [
        *({}, {"status": "failed"}, {"status": "delivered"}, {"status": "pending"}),
        *({"job_id": job_ids[1]}, {"job_id": job_ids[1], "status": "failed"}),
    ]

    def read_all() -> list[list[dict[str, Any]]]:
        found = [read(service.client, DELIVERIES, **query) for query in searches]
        found += [
            read(service.operator, OF_ALL, **query)
            for query in (*searches, {"tenant": "acme"}, {"host": "127.0.0.1"}, {"tenant": "other"})
        ]
        for one in found[0]:
            found.append([service.client.get(f"{DELIVERIES}/{one['id']}").json()])
            found.append([service.operator.get(f"{OF_ALL}/{one['id']}").json()])
        return found

    live = read_all()
    assert [one["job_id"] for one in live[0]] == job_ids[::-1]
    assert [one["job_id"] for one in live[1]] == [job_ids[3], job_ids[1]]
    for archived in (job_ids[1:3], job_ids[::2], job_ids):
        service.archive(*archived)
        assert all(service.is_only_archived(job_id) for job_id in archived)
        assert read_all() == live
        for query, expected in zip(searches, live, strict=False):
            for limit in (1, 2):
                found = listed(service.client, DELIVERIES, limit=limit, **query)
                assert found == [one["id"] for one in expected]
    attempts = live[-1][0]["attempts"] + live[-3][0]["attempts"]
    assert {one["status"] for one in attempts} == {200, 500}


def test_pages_of_a_job_s_failed_deliveries_have_each_of_them_once(service: HistoryService) -> None:
    job_id = service.end("canceled", webhook={"url": "https://a.example/hook"})
    for _ in range(2):
        assert service.client.post(f"/v1/jobs/{job_id}/retry").status_code == 200
        service.end_next("canceled", job_id)
    for _ in range(3):
        service.history.world.pass_a_millisecond()  # they fail later than they were created
        service.deliver_next("failed")
    wanted: dict[str, Any] = {"job_id": job_id, "status": "failed", "limit": 1}
    found = listed(service.client, DELIVERIES, **wanted)
    assert len(found) == len(set(found)) == 3
    assert listed(service.operator, OF_ALL, **wanted) == found
    service.archive()
    assert service.is_only_archived(job_id)
    assert listed(service.client, DELIVERIES, **wanted) == found


def test_the_webhook_of_an_archived_job_is_sent_again(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    webhook = {"url": f"{inbox.url}?order=A-17", "headers": {"X-Own": "1"}}
    job_id = service.end(webhook=webhook)
    deliver(service, 1, inbox)
    (delivery_id,) = listed(service.client, DELIVERIES, job_id=job_id)
    before = service.client.get(f"{DELIVERIES}/{delivery_id}").json()
    job = service.job(job_id)
    service.archive()

    for sent, (client, path) in enumerate(
        ((service.client, DELIVERIES), (service.operator, OF_ALL)), start=2
    ):
        answer = client.post(f"{path}/{delivery_id}/redeliver")
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        deliver(service, sent, inbox)
        after = service.client.get(f"{DELIVERIES}/{delivery_id}").json()
        assert len(after["attempts"]) == sent
        assert after["attempts"][:1] == before["attempts"]
        assert after["endpoint_id"] == before["endpoint_id"]
        service.archive()
        assert service.is_only_archived(job_id)
        assert service.client.get(f"{DELIVERIES}/{delivery_id}").json() == after
    assert {request.id for request in inbox.received} == {delivery_id}
    assert {request.path for request in inbox.received} == {"/hook?order=A-17"}
    bodies = [one.verify(service.api.credentials.webhook_secret) for one in inbox.received]
    assert bodies[0] == bodies[1] == bodies[2]
    assert [one.headers["x-own"] for one in inbox.received] == ["1"] * 3
    assert service.job(job_id) == job


def test_a_job_moves_to_the_history_only_when_its_webhooks_are_settled(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    job_id = service.end(webhook={"url": inbox.url})
    service.archive()
    assert service.history.is_live(job_id)
    deliver(service, 1, inbox)
    service.archive()
    assert service.is_only_archived(job_id)


def batch_with_webhook(service: HistoryService, inbox: WebhookReceiver) -> tuple[str, list[str]]:
    """Create a batch that ends and whose webhook is delivered; return its id and its jobs'."""
    webhook = {"url": inbox.url, "events": ["batch.completed"]}
    batch_id, job_ids = ended_batch(service, "canceled", "canceled", webhook=webhook)
    deliver(service, 1, inbox)
    return batch_id, job_ids


@pytest.mark.parametrize("is_first_deleted", [False, True])
def test_the_webhook_of_an_archived_batch_is_sent_again(
    service: HistoryService,
    inbox: WebhookReceiver,
    is_first_deleted: bool,  # noqa: FBT001
) -> None:
    batch_id, job_ids = batch_with_webhook(service, inbox)
    (delivery_id,) = listed(service.client, DELIVERIES)
    before = service.client.get(f"/v1/batches/{batch_id}").json()
    service.archive()
    assert not any(service.history.is_live(job_id) for job_id in job_ids)
    if is_first_deleted:
        assert service.client.delete(f"/v1/jobs/{job_ids[0]}").status_code == 204

    assert service.client.post(f"{DELIVERIES}/{delivery_id}/redeliver").status_code == 202
    deliver(service, 2, inbox)

    first, second = (json.loads(request.body) for request in inbox.received)
    assert first == second
    assert {request.id for request in inbox.received} == {delivery_id}
    assert first["data"]["id"] == batch_id
    service.archive()
    assert service.client.get(f"/v1/batches/{batch_id}").json() == before
    assert len(service.client.get(f"{DELIVERIES}/{delivery_id}").json()["attempts"]) == 2


def test_all_that_failed_since_a_time_is_sent_again_from_both(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    job_ids = end_with_deliveries(service, inbox)
    failed = [one["id"] for one in read(service.client, DELIVERIES, status="failed")]
    since = service.job(job_ids[0])["created_at"]
    service.archive(*job_ids[:3])
    sent = len(inbox.received)
    answer = service.client.post("/v1/webhooks/redeliver", json={"since": since})
    assert (answer.status_code, answer.json()) == (202, {"count": 2, "more": False})
    deliver(service, sent + 2, inbox)
    assert sorted(one.id for one in inbox.received[sent:]) == sorted(failed)
    service.archive()
    assert not any(service.history.is_live(job_id) for job_id in job_ids)
    assert read(service.client, DELIVERIES, status="failed") == []
    assert len(read(service.client, DELIVERIES, status="delivered")) == 5


def test_each_request_brings_back_failed_deliveries_that_are_not_back_yet(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    job_ids = end_with_deliveries(service, inbox)
    service.archive()
    world = service.history.world

    async def bring_back_one() -> None:
        pool = connect_async(world.settings, connections=2)
        replicas = Replicas.from_settings(world.settings)
        async with GroupCommitClient(
            pool, world.scripts, timeout_seconds=20, replicas=replicas
        ) as committer:
            with ThreadPoolExecutor(1) as threads:
                records = Records(
                    committer,
                    service.history.reader,
                    threads,
                    lambda: time.time() * 1000,
                    timeout_seconds=20,
                )
                await records.bring_back_failed(TENANT, since=0, most=1)
        await pool.disconnect()

    for expected in (1, 2, 2):
        asyncio.run(bring_back_one())
        assert sum(map(service.history.is_live, job_ids)) == expected


def test_operators_count_and_send_again_what_failed(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    job_ids = end_with_deliveries(service, inbox)
    since = service.job(job_ids[0])["created_at"]
    service.archive()
    path = f"{OF_ALL}/redeliver"
    counted = service.operator.post(path, json={"since": since, "dry_run": True})
    assert counted.json() == {"count": 2, "more": False, "moved": 0}
    for tenant, count in (("other", 0), ("acme", 2)):
        body = {"since": since, "expected_count": 2, "tenant": tenant}
        assert service.operator.post(path, json=body).json()["moved"] == count
    sent = len(inbox.received)
    deliver(service, sent + 1, inbox)
    assert read(service.operator, OF_ALL, status="failed") == []


def test_a_delivery_of_an_archived_job_that_is_retried_stays_in_the_log(
    service: HistoryService, inbox: WebhookReceiver
) -> None:
    events = ["job.failed", "job.succeeded"]
    job_id = service.end("failed", webhook={"url": inbox.url, "events": events})
    deliver(service, 1, inbox)
    service.archive()
    assert service.client.post(f"/v1/jobs/{job_id}/retry").status_code == 200
    service.end_next("succeeded", job_id)
    deliver(service, 2, inbox)
    live = read(service.client, DELIVERIES, job_id=job_id)
    assert [one["type"] for one in live] == ["job.succeeded", "job.failed"]
    service.archive()
    assert service.is_only_archived(job_id)
    assert read(service.client, DELIVERIES, job_id=job_id) == live
    problem(service.client.get(f"{DELIVERIES}/msg_unknown"), 404, "not_found")
