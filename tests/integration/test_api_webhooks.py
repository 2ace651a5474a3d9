"""Webhooks as their owner sees them over HTTP: deliveries, endpoints, secrets, a test event."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from shared.settings import inherited_environment
from tests.support.api_server import ApiServer, pointers, problem, served, settings, tenant_at
from tests.support.delivery_worker import delivering
from tests.support.webhook_receiver import WebhookReceiver

DARKROOM = Path(sys.executable).with_name("darkroom")
ALLOWED = {"webhook_allow_hosts": "127.0.0.1"}


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    with served(settings(redis_url, **ALLOWED)) as url:
        yield url


def end_jobs(api_server: ApiServer, url: str, **webhook: Any) -> str:
    """Let a job be canceled whose webhook goes to `url`; return the job's id."""
    job = api_server.create(webhook={"url": url, **webhook})
    assert api_server.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    return str(job["id"])


def listed(api_server: ApiServer, **query: Any) -> list[dict[str, Any]]:
    answer = api_server.client.get("/v1/webhooks/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def wait_for(api_server: ApiServer, status: str, count: int = 1) -> list[dict[str, Any]]:
    wait_until(
        lambda: len(listed(api_server, status=status)) == count, f"{count} {status}", seconds=30
    )
    return listed(api_server, status=status)


def test_the_delivery_log_shows_every_attempt_and_sends_again(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    # given
    inbox.script = [500]
    with delivering(empty_redis_url, webhook_schedule="0,0.01"):
        job_id = end_jobs(
            api_server, f"{inbox.url}?order=A-17", payload="slim", headers={"X-Own": "1"}
        )
        (told,) = wait_for(api_server, "delivered")
        # then
        one = api_server.client.get(f"/v1/webhooks/deliveries/{told['id']}").json()
        assert [(each["number"], each["status"]) for each in one["attempts"]] == [
            (1, 500),
            (2, 200),
        ]
        assert one["attempts"][0]["error"]["code"] == "status"
        assert one["attempts"][1]["error"] is None
        assert (one["job_id"], one["attempt"], one["last_attempt"]) == (
            job_id,
            2,
            one["attempts"][1],
        )
        assert one["url"] == f"{inbox.url}?order=A-17"
        # when
        answer = api_server.client.post(f"/v1/webhooks/deliveries/{told['id']}/redeliver")
        assert answer.status_code == 202
        wait_until(lambda: len(inbox.received) == 3, "the replay", seconds=30)
    assert {request.id for request in inbox.received} == {told["id"]}
    assert {request.path for request in inbox.received} == {"/hook?order=A-17"}
    for request in inbox.received:
        body = request.verify(api_server.credentials.webhook_secret)
        assert set(body["data"]) == {"id", "status", "version", "run", "metadata"}
        assert request.headers["x-own"] == "1"


def test_all_that_failed_is_sent_again_and_counted(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    inbox.status = 500
    since = api_server.create()["created_at"]
    with delivering(empty_redis_url, webhook_schedule="0"):
        for path in "abc":
            end_jobs(api_server, f"{inbox.url}/{path}")
        wait_for(api_server, "failed", 3)
        inbox.status = 200
        answer = api_server.client.post("/v1/webhooks/redeliver", json={"since": since})
        assert (answer.status_code, answer.json()) == (202, {"count": 3, "more": False})
        wait_for(api_server, "delivered", 3)
    assert listed(api_server, status="failed") == []


def test_pages_and_filters_of_the_delivery_log(api_server: ApiServer) -> None:
    jobs = [end_jobs(api_server, f"https://{name}.example/") for name in "abc"]
    page = api_server.client.get("/v1/webhooks/deliveries", params={"limit": 2}).json()
    cursor = {"limit": 2, "cursor": page["next_cursor"]}
    rest = api_server.client.get("/v1/webhooks/deliveries", params=cursor).json()
    found = [one["job_id"] for one in (*page["data"], *rest["data"])]
    assert sorted(found) == sorted(jobs)
    assert rest["next_cursor"] is None
    (one,) = listed(api_server, job_id=jobs[1])
    assert (one["type"], one["status"], one["last_attempt"]) == ("job.canceled", "pending", None)
    bad = api_server.client.get("/v1/webhooks/deliveries", params={"status": "x", "cursor": "y"})
    assert pointers(bad) == {"/query/status", "/query/cursor"}


def test_what_is_anothers_or_no_id_is_not_found(api_server: ApiServer, url: str) -> None:
    end_jobs(api_server, "https://a.example/")
    (one,) = listed(api_server)
    with tenant_at(url, api_server.world.settings.redis_url) as other:
        assert listed(other) == []
        for path in (
            f"deliveries/{one['id']}",
            "deliveries/x",
            f"endpoints/{one['endpoint_id']}",
            "endpoints/x",
        ):
            problem(other.client.get(f"/v1/webhooks/{path}"), 404, "not_found")
        for path in (
            f"deliveries/{one['id']}/redeliver",
            f"endpoints/{one['endpoint_id']}/enable",
            f"endpoints/{one['endpoint_id']}/secret/rotate",
        ):
            problem(other.client.post(f"/v1/webhooks/{path}"), 404, "not_found")
        secret = f"/v1/webhooks/endpoints/{one['endpoint_id']}/secret"
        problem(other.client.delete(secret), 404, "not_found")


def test_bad_bodies_name_every_fault(api_server: ApiServer) -> None:
    def sent(path: str, body: dict[str, Any]) -> set[str]:
        return pointers(api_server.client.post(f"/v1/webhooks/{path}", json=body))

    assert sent("redeliver", {"since": "yesterday"}) == {"/since"}
    assert sent("endpoints", {"url": "http://10.0.0.1/", "name": "x"}) == {"/url", "/name"}
    assert sent("redeliver", {"since": "2026-01-31T12:00:00"}) == {"/since"}
    assert sent("endpoints", {"url": "http://\uff11\uff12\uff17.0.0.2/"}) == {"/url"}
    bad = {"url": "ftp://x", "headers": {"Webhook-Id": "x"}, "payload": "all", "events": []}
    assert sent("test", bad) == {"/url", "/headers", "/payload", "/events"}
    three = {"url": "https://example.com/", "headers": {"Host": "x", "Webhook-Id": "y", "B d": "z"}}
    (fault,) = api_server.client.post("/v1/webhooks/test", json=three).json()["errors"]
    for said in ("must not set Host", "must not set Webhook-Id", "has an invalid header name"):
        assert said in fault["message"]


def test_bodies_are_read_however_programs_write_them(api_server: ApiServer) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    body = b'\xef\xbb\xbf{"since":"2026-01-31T12:00:00.123456789Z"}'
    answer = api_server.client.post("/v1/webhooks/redeliver", content=body, headers=headers)
    assert answer.json() == {"count": 0, "more": False}


def test_a_host_of_another_script_is_one_endpoint_in_every_spelling(api_server: ApiServer) -> None:
    urls = [
        "https://b\u00fccher.example/x",
        "https://B\u00dcCHER.example/x?y=1",
        "https://xn--bcher-kva.example/x",
        "https://b\uff55\u0308cher.example/x",
    ]
    found = [
        api_server.client.post("/v1/webhooks/endpoints", json={"url": url}).json() for url in urls
    ]
    assert len({one["id"] for one in found}) == 1
    assert found[0]["url"] == "https://xn--bcher-kva.example/x"
    made = api_server.client.post(
        f"/replicate/v1/models/{DEFAULT_MODEL}/predictions",
        json={"input": {"prompt": "p"}, "webhook": urls[0]},
    )
    job = api_server.client.get(f"/v1/jobs/{made.json()['id']}").json()
    assert job["webhook"]["url"] == "https://xn--bcher-kva.example/x"


def test_a_receiver_that_is_gone_is_off_until_it_is_enabled(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    inbox.status = 410
    with delivering(empty_redis_url):
        end_jobs(api_server, inbox.url)
        (failed,) = wait_for(api_server, "failed")
        missed = end_jobs(api_server, inbox.url)
        (parked,) = wait_for(api_server, "parked")
        path = f"/v1/webhooks/endpoints/{parked['endpoint_id']}"
        endpoint = api_server.client.get(path).json()
        assert (endpoint["status"], endpoint["disabled_reason"]) == ("disabled", "gone")
        assert (endpoint["pending"], endpoint["parked"]) == (1, 1)
        gauges = ('darkroom_webhook_endpoints{state="disabled"} 1.0', "darkroom_webhook_parked 1.0")
        wait_until(
            lambda: all(one in api_server.client.get("/metrics").text for one in gauges),
            "gauges of what is off and parked",
            seconds=30,
        )
        again = api_server.client.post(f"/v1/webhooks/deliveries/{failed['id']}/redeliver")
        problem(again, 409, "endpoint_disabled")
        inbox.status = 200
        assert api_server.client.post(f"{path}/enable").json()["status"] == "healthy"
        (delivered,) = wait_for(api_server, "delivered")
        assert delivered["job_id"] == missed
    kinds = [one["type"] for one in api_server.client.get("/v1/events").json()["data"]]
    assert [kind for kind in kinds if kind.startswith("webhook.")] == [
        "webhook.disabled",
        "webhook.enabled",
    ]


def test_while_a_secret_rotates_old_and_new_verify(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    old = api_server.credentials.webhook_secret
    answer = api_server.client.post("/v1/webhooks/secret/rotate")
    assert answer.headers["cache-control"] == "private, no-store"
    new = answer.json()["secret"]
    with delivering(empty_redis_url):
        end_jobs(api_server, inbox.url)
        wait_for(api_server, "delivered")
        (endpoint,) = api_server.client.get("/v1/webhooks/endpoints").json()["data"]
        path = f"/v1/webhooks/endpoints/{endpoint['id']}"
        own = api_server.client.post(f"{path}/secret/rotate").json()["secret"]
        end_jobs(api_server, inbox.url)
        wait_for(api_server, "delivered", 2)
    first, second = inbox.received
    for request, secrets in ((first, (old, new)), (second, (new, own))):
        for secret in secrets:
            request.verify(secret)
    with pytest.raises(Exception, match="signature"):
        first.verify(own)
    shown = api_server.client.get(path)
    assert shown.json()["has_own_secret"] is True
    assert not any(secret in shown.text for secret in (old, new, own))
    assert api_server.client.delete(f"{path}/secret").status_code == 204
    assert api_server.client.get(path).json()["has_own_secret"] is False


def test_an_endpoint_is_taken_down_before_anything_is_owed(api_server: ApiServer) -> None:
    made = [
        api_server.client.post(
            "/v1/webhooks/endpoints", json={"url": f"https://a.example/hook{query}"}
        )
        for query in ("", "?x=1")
    ]
    assert [answer.status_code for answer in made] == [200, 200]
    assert made[0].json() == made[1].json()
    assert made[0].json()["url"] == "https://a.example/hook"


def test_a_test_event_shows_the_exact_request_and_the_outcome(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    inbox.script = [418]
    with delivering(empty_redis_url):
        body = {"url": f"{inbox.url}?x=1", "payload": "slim", "headers": {"X-Own": "1"}}
        refused = api_server.client.post("/v1/webhooks/test", json=body).json()
        taken = api_server.client.post("/v1/webhooks/test", json=body).json()
    assert (refused["status"], refused["attempt"]["status"]) == ("failed", 418)
    assert refused["attempt"]["error"]["code"] == "status"
    assert (taken["status"], taken["attempt"]["error"]) == ("delivered", None)
    # nothing more was sent, and what is shown is what came
    assert len(inbox.received) == 2
    came = inbox.received[1]
    assert came.verify(api_server.credentials.webhook_secret)["type"] == "webhook.test"
    assert taken["request"]["headers"] == came.headers
    assert taken["request"]["body"].encode() == came.body
    assert taken["request"]["url"].endswith(came.path)
    assert listed(api_server) == []


def test_a_test_event_that_is_gone_is_not_said_to_disable_its_endpoint(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    inbox.script = [410]
    with delivering(empty_redis_url):
        told = api_server.client.post("/v1/webhooks/test", json={"url": inbox.url}).json()
    error = told["attempt"]["error"]
    assert (told["attempt"]["status"], error["code"]) == (410, "gone")
    assert "was disabled" not in error["message"]
    assert listed(api_server) == []


def test_a_test_event_reaches_no_address_that_a_webhook_does_not(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    with delivering(empty_redis_url, webhook_allow_hosts="elsewhere.example"):
        told = api_server.client.post("/v1/webhooks/test", json={"url": inbox.url}).json()
    assert (told["status"], told["attempt"]["error"]["code"]) == ("failed", "address_forbidden")
    assert inbox.received == []


def test_the_program_shows_a_test_event(
    api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    environment = {
        **inherited_environment(),
        "DARKROOM_URL": api_server.url,
        "DARKROOM_API_KEY": api_server.credentials.api_key,
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(DARKROOM), "webhooks", "test", *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    with delivering(empty_redis_url):
        good = run(inbox.url, "--header", "X-Own: 1")
        inbox.status = 500
        bad = run(inbox.url)
    refused = run("ftp://x")
    assert good.returncode == 0, good.stderr
    assert f"POST {inbox.url}" in good.stdout
    assert f"webhook-id: {inbox.received[0].id}" in good.stdout
    assert f"webhook-signature: {inbox.received[0].headers['webhook-signature']}" in good.stdout
    assert "x-own: 1" in good.stdout
    assert inbox.received[0].body.decode() in good.stdout
    assert "delivered: 200" in good.stdout
    assert (bad.returncode, "failed: 500" in bad.stdout) == (1, True)
    assert refused.returncode == 2
    assert refused.stderr.startswith("URL must begin with http")
