"""Standing endpoints over HTTP, and their webhooks as a receiver gets them."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from api.webhooks.deliveries import PIECE
from sandbox.wait import wait_until
from shared.store.deliveries import settle_delivery
from shared.store.endpoints import STANDING_MAX, enable_endpoint
from tests.support.api_server import ApiServer, client_of, pointers, problem, served, settings
from tests.support.delivery_worker import delivering
from tests.support.history_service import ATTEMPT
from tests.support.store import World
from tests.support.webhook_receiver import WebhookReceiver

PATH = "/v1/webhooks/endpoints"
ENDS = ["job.succeeded", "job.failed", "job.canceled"]


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    with served(settings(redis_url, webhook_allow_hosts="127.0.0.1")) as url:
        yield url


def create(api_server: ApiServer, url: str, **how: Any) -> dict[str, Any]:
    answer = api_server.client.post(PATH, json={"url": url, "events": ENDS, **how})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_standing_endpoint_is_created_read_changed_and_deleted(api_server: ApiServer) -> None:
    made = create(api_server, "https://a.example/hook?key=1", description="orders", payload="slim")
    one = f"{PATH}/{made['id']}"
    shown = {name: made[name] for name in ("url", "events", "description", "payload", "enabled")}
    assert shown == {
        "url": "https://a.example/hook?key=1",
        "events": ENDS,
        "description": "orders",
        "payload": "slim",
        "enabled": True,
    }
    changes = {"events": ["batch.completed"], "headers": {"X-Secret": "hush"}, "enabled": False}
    changed = api_server.client.patch(one, json=changes)
    assert changed.status_code == 200, changed.text
    assert "hush" not in changed.text
    body = changed.json()
    assert (body["events"], body["description"]) == (["batch.completed"], "orders")
    assert (body["enabled"], body["status"]) == (False, "disabled")
    assert body["disabled_reason"] == "requested"
    assert api_server.client.get(one).json() == body
    assert api_server.client.get(PATH).json()["data"] == [body]
    assert api_server.client.patch(one, json={"enabled": True}).json()["status"] == "healthy"
    assert api_server.client.delete(one).status_code == 204
    for call in (api_server.client.get, api_server.client.delete):
        problem(call(one), 404, "not_found")
    problem(api_server.client.patch(one, json={"enabled": True}), 404, "not_found")
    assert api_server.client.get(PATH).json()["data"] == []


def test_what_failed_at_an_endpoint_that_is_deleted_is_not_counted_as_sent_again(
    api_server: ApiServer, redis_url: str
) -> None:
    made = create(api_server, "https://a.example/hook")
    for _ in range(PIECE + 1):
        job = api_server.create()
        api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    with closing(World(redis_url)) as world:
        for _ in range(PIECE + 1):
            world.store.run(settle_delivery(world.delivery(), "failed", attempt=ATTEMPT))
            # otherwise the others would be parked
            world.store.run(enable_endpoint(made["id"], tenant=api_server.tenant))
    assert api_server.client.delete(f"{PATH}/{made['id']}").status_code == 204
    deliveries = api_server.client.get("/v1/webhooks/deliveries").json()
    body: dict[str, object] = {"since": "2020-01-01T00:00:00Z"}
    answer = api_server.client.post("/v1/webhooks/redeliver", json=body)
    assert answer.json() == {"count": 0, "more": False}
    assert api_server.client.get("/v1/webhooks/deliveries").json() == deliveries
    with client_of(api_server.url, api_server.credentials.ops_key) as operator:
        body |= {"tenant": api_server.tenant, "expected_count": PIECE + 1}
        answer = operator.post("/ops/v1/deliveries/redeliver", json=body)
    assert answer.json() == {"count": PIECE + 1, "more": False, "moved": 0}


def test_an_endpoint_without_events_gets_nothing_of_other_jobs(api_server: ApiServer) -> None:
    answer = api_server.client.post(PATH, json={"url": "https://a.example/hook"})
    assert answer.json()["events"] == []
    job = api_server.create()
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert api_server.client.get("/v1/webhooks/deliveries").json()["data"] == []


def test_headers_and_payload_are_refused_of_an_endpoint_that_never_sends_them(
    api_server: ApiServer,
) -> None:
    given: dict[str, Any] = {"headers": {"X-Token": "s"}, "payload": "slim"}
    body = {"url": "https://a.example/hook", **given}
    assert pointers(api_server.client.post(PATH, json=body)) == {"/headers", "/payload"}
    assert api_server.client.get(PATH).json()["data"] == []
    usual = {"url": body["url"], "headers": {}, "payload": "full"}
    one = f"{PATH}/{api_server.client.post(PATH, json=usual).json()['id']}"
    for name, value in given.items():
        assert pointers(api_server.client.patch(one, json={name: value})) == {f"/{name}"}
    # and not of a standing one, nor of one that becomes one
    assert api_server.client.patch(one, json={**given, "events": ENDS}).status_code == 200
    assert api_server.client.post(PATH, json=body).status_code == 200


def test_the_query_of_a_standing_endpoint_is_that_of_the_last_request(
    api_server: ApiServer,
) -> None:
    url = "https://a.example/hook"
    create(api_server, f"{url}?key=1")

    def url_after(sent: str) -> str:
        return str(api_server.client.post(PATH, json={"url": sent}).json()["url"])

    assert url_after(f"{url}?key=2") == f"{url}?key=2"
    assert url_after(url) == f"{url}?key=2"  # names the endpoint, and changes nothing
    plain = "https://b.example/hook"
    assert url_after(f"{plain}?key=1") == plain  # it has that of each job


def test_every_fault_of_an_endpoint_is_named_at_once(api_server: ApiServer) -> None:
    bad = {
        "url": "http://169.254.169.254/latest",
        "events": ["job.succeeded", "job.done"],
        "description": "x" * 201,
        "headers": {"Host": "x"},
        "payload": "all",
        "enabled": "yes",
    }
    answer = api_server.client.post(PATH, json=bad)
    assert pointers(answer) == {f"/{name}" for name in bad}
    one = f"{PATH}/{create(api_server, 'https://a.example/')['id']}"
    for body, wrong in (({}, {""}), ({"events": []}, {"/events"}), ({"url": "x"}, {"/url"})):
        assert pointers(api_server.client.patch(one, json=body)) == wrong


def test_the_limit_of_standing_endpoints_is_a_problem(api_server: ApiServer) -> None:
    for number in range(STANDING_MAX):
        create(api_server, f"https://{number}.example/")
    plain = api_server.client.post(PATH, json={"url": "https://plain.example/"}).json()
    more = {"url": "https://more.example/", "events": ENDS}
    for answer in (
        api_server.client.post(PATH, json=more),
        api_server.client.patch(f"{PATH}/{plain['id']}", json={"events": ENDS}),
    ):
        problem(answer, 409, "too_many_standing_endpoints")


def test_jobs_of_every_api_are_sent_to_it(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    # given
    headers = {"X-Token": "t"}
    made = create(api_server, f"{inbox.url}?key=1", headers=headers, events=["job.canceled"])
    secret = api_server.client.post(f"{PATH}/{made['id']}/secret/rotate").json()["secret"]
    ours = api_server.create()["id"]
    prediction = api_server.client.post(
        "/replicate/v1/predictions",
        json={
            "version": "black-forest-labs/flux-2-klein-9b",
            "input": {"prompt": "A pier"},
        },
    )
    assert prediction.status_code == 201, prediction.text
    own = api_server.create(webhook={"url": f"{inbox.url}/own", "events": ["job.canceled"]})["id"]
    jobs = {job["id"] for job in api_server.client.get("/v1/jobs").json()["data"]}
    assert len(jobs) == 3
    # when
    for job_id in jobs:
        assert api_server.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    with delivering(empty_redis_url):
        wait_until(lambda: len(inbox.received) == 3, "three webhooks", seconds=30)
    # then
    standing = [one for one in inbox.received if one.path == "/hook?key=1"]
    bodies = [one.verify(secret) for one in standing]
    assert {body["data"]["id"] for body in bodies} == jobs - {own}
    assert ours in jobs
    for one, body in zip(standing, bodies, strict=True):
        assert (body["type"], one.headers["x-token"]) == ("job.canceled", "t")
        assert one.id.endswith(f"_1_canceled_{made['id'][3:]}")


def test_a_test_event_has_the_headers_of_the_endpoint(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    made = create(api_server, f"{inbox.url}?key=1", headers={"X-Token": "t"}, enabled=False)
    with delivering(empty_redis_url):
        answer = api_server.client.post(f"{PATH}/{made['id']}/test")
    assert (answer.status_code, answer.json()["status"]) == (200, "delivered")
    (one,) = inbox.received
    assert (one.path, one.headers["x-token"]) == ("/hook?key=1", "t")
    problem(api_server.client.post(f"{PATH}/ep_{'0' * 24}/test"), 404, "not_found")
