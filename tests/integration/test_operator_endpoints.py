"""Endpoints of operators over HTTP and from the command line, and what a receiver gets."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.wait import wait_until
from shared.operator_events import DEFAULT_EVENTS
from shared.provider_keys import ProviderKey
from shared.store.endpoints import STANDING_MAX
from shared.store.maintenance import register_keys, report_signal
from shared.store.transitions import Signal
from tests.integration.conftest import Program
from tests.support.api_server import (
    ApiServer,
    client_of,
    pointers,
    problem,
    served,
    settings,
)
from tests.support.delivery_worker import delivering
from tests.support.webhook_receiver import WebhookReceiver

PATH = "/ops/v1/webhooks/endpoints"
SOON = {"notify_after_seconds": 0}
KEY = ProviderKey("key-a", "team-a", "secret-abcd")


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    with served(settings(redis_url, webhook_allow_hosts="127.0.0.1", **SOON)) as url:
        yield url


def create(operator: httpx.Client, url: str, **how: Any) -> dict[str, Any]:
    answer = operator.post(PATH, json={"url": url, **how})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_endpoint_is_created_read_changed_and_deleted(operator: httpx.Client) -> None:
    made = create(operator, "https://a.example/hook?key=1", description="Team", format="slack")
    assert made.pop("secret").startswith("whsec_")
    one = f"{PATH}/{made['id']}"
    assert (made["events"], made["format"]) == ([*DEFAULT_EVENTS], "slack")
    assert made["url"] == "https://a.example/hook?key=1"
    assert operator.get(PATH).json() == {"data": [made], "next_cursor": None}
    again = create(operator, "https://a.example/hook?key=2", description="The team")
    assert again.pop("secret") is None
    assert (again["id"], again["format"], again["url"][-1]) == (made["id"], "slack", "2")
    changes = {"events": ["queue.delayed"], "enabled": False, "headers": {"X-Token": "hush"}}
    changed = operator.patch(one, json=changes).json()
    assert (changed["events"], changed["disabled_reason"]) == (["queue.delayed"], "requested")
    assert operator.get(one).json() == changed
    assert operator.post(f"{one}/enable").json()["status"] == "healthy"
    assert operator.post(f"{one}/secret/rotate").json()["secret"].startswith("whsec_")
    audit = operator.get(f"/ops/v1/audit?target={made['id']}")
    assert "hush" not in audit.text
    assert [entry["action"] for entry in audit.json()["data"]] == [
        *("endpoint.rotate", "endpoint.enable", "endpoint.update"),
        *("endpoint.create", "endpoint.create"),
    ]
    assert operator.delete(one).status_code == 204
    for call in (operator.get, operator.delete):
        problem(call(one), 404, "not_found")
    problem(operator.patch(one, json={"enabled": True}), 404, "not_found")
    for path in ("test", "enable", "secret/rotate"):
        problem(operator.post(f"{one}/{path}"), 404, "not_found")


def test_endpoints_of_operators_and_of_tenants_are_apart(
    operator: httpx.Client, api_server: ApiServer
) -> None:
    create(operator, "https://a.example/hook")
    assert api_server.client.get("/v1/webhooks/endpoints").json()["data"] == []
    assert operator.get("/ops/v1/endpoints").json()["data"] == []
    tenants = operator.get("/ops/v1/tenants").json()["data"]
    assert [tenant["name"] for tenant in tenants] == [api_server.tenant]
    body = {"url": "https://a.example/hook", "events": ["job.failed"]}
    theirs = api_server.client.post("/v1/webhooks/endpoints", json=body).json()["id"]
    for path in ("", "/enable", "/secret/rotate", "/test"):
        call = operator.post if path else operator.get
        problem(call(f"{PATH}/{theirs}{path}"), 404, "not_found")
    problem(operator.delete(f"{PATH}/{theirs}"), 404, "not_found")


def test_every_fault_is_named_at_once(operator: httpx.Client) -> None:
    bad = {
        "url": "http://169.254.169.254/latest",
        "events": ["job.failed"],
        "description": "x" * 201,
        "headers": {"Host": "x"},
        "format": "teams",
        "enabled": "yes",
        "payload": "slim",
    }
    assert pointers(operator.post(PATH, json=bad)) == {f"/{name}" for name in bad}
    one = f"{PATH}/{create(operator, 'https://a.example/')['id']}"
    for body, wrong in (({}, {""}), ({"events": []}, {"/events"}), ({"url": "x"}, {"/url"})):
        assert pointers(operator.patch(one, json=body)) == wrong
    for number in range(STANDING_MAX - 1):
        create(operator, f"https://{number}.example/")
    more = operator.post(PATH, json={"url": "https://more.example/"})
    problem(more, 409, "too_many_standing_endpoints")


def test_a_key_that_only_reads_changes_nothing(
    operator: httpx.Client, program: Program, url: str
) -> None:
    key = program.run_json("ops-keys", "create", "--scopes", "ops:read")["key"]
    with client_of(url, key) as reader:
        assert reader.get(PATH).status_code == 200
        problem(reader.post(PATH, json={"url": "https://a.example/"}), 403, "forbidden")


def test_events_are_signed_logged_and_sent_again(
    operator: httpx.Client, api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    made = create(operator, inbox.url, headers={"X-Token": "t"})
    world = api_server.world
    world.store.run(register_keys([KEY]))
    with delivering(empty_redis_url, **SOON):
        world.store.run(report_signal(Signal.hold_storage(60)))
        wait_until(lambda: len(inbox.received) == 1, "the event", seconds=30)
        (logged,) = operator.get("/ops/v1/deliveries?tenant=@operators").json()["data"]
        assert (logged["type"], logged["endpoint_id"]) == ("storage.unavailable", made["id"])
        again = operator.post(f"/ops/v1/deliveries/{logged['id']}/redeliver")
        assert again.status_code == 202, again.text
        wait_until(lambda: len(inbox.received) == 2, "it again", seconds=30)
    first, second = inbox.received
    body = first.verify(made["secret"])
    assert (first.id, first.body, first.headers["x-token"]) == (second.id, second.body, "t")
    assert (body["type"], body["data"]["ended_at"]) == ("storage.unavailable", None)


def test_a_slack_channel_gets_a_test_and_sentences(
    operator: httpx.Client, api_server: ApiServer, inbox: WebhookReceiver, empty_redis_url: str
) -> None:
    made = create(operator, inbox.url, format="slack", events=["storage.unavailable"])
    with delivering(empty_redis_url, **SOON):
        tried = operator.post(f"{PATH}/{made['id']}/test").json()
        assert tried["status"] == "delivered"
        assert tried["request"]["body"].startswith('{"text":"This is a test event')
        api_server.world.store.run(report_signal(Signal.hold_storage(60)))
        wait_until(lambda: len(inbox.received) == 2, "the event", seconds=30)
    body = inbox.received[1].json
    assert set(body) == {"text"}
    assert body["text"].startswith("*storage.unavailable* Images cannot be stored")
    assert body["text"].endswith("/ops")


def test_the_program_manages_endpoints(
    program: Program, inbox: WebhookReceiver, empty_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_ALLOW_HOSTS", "127.0.0.1")
    chosen = ("--events", "queue.delayed, queue.recovered", "--header", "X-Token: t")
    made = program.run_json("ops-webhooks", "create", inbox.url, "--format", "slack", *chosen)
    assert made["events"] == ["queue.delayed", "queue.recovered"]
    assert made["secret"].startswith("whsec_")
    (listed,) = program.run_json("ops-webhooks", "list")["data"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    one = made["id"]
    changed = program.run_json("ops-webhooks", "update", one, "--no-enabled")
    assert (changed["enabled"], changed["events"]) == (False, made["events"])
    assert program.run_json("ops-webhooks", "enable", one)["enabled"]
    assert program.run_json("ops-webhooks", "rotate", one)["secret"] != made["secret"]
    with delivering(empty_redis_url):
        code, out, _ = program.run("ops-webhooks", "test", one)
        assert (code, "delivered" in out) == (0, True)
        inbox.status = 500
        code, out, _ = program.run("ops-webhooks", "test", one)
        assert (code, "500" in out) == (1, True)
    assert inbox.received[0].headers["x-token"] == "t"
    assert program.run("ops-webhooks", "delete", one)[0] == 0
    assert program.run_json("ops-webhooks", "list")["data"] == []
    for words in (["delete"], ["rotate"], ["enable"], ["test"], ["update", "--no-enabled"]):
        code, _, wrong = program.run("ops-webhooks", words[0], one, *words[1:])
        assert (code, wrong.startswith(f"Operators have no endpoint {one}.")) == (3, True)


def test_the_program_names_every_fault_of_an_endpoint(program: Program) -> None:
    bad = ("http://10.0.0.1/", "--events", "job.failed", "--description", "x" * 201)
    code, _, wrong = program.run("ops-webhooks", "create", *bad)
    assert code == 2
    names = [line.partition(" ")[0] for line in wrong.splitlines()]
    assert sorted(names) == ["--description", "--events", "--url"]
    code, _, wrong = program.run("ops-webhooks", "update", f"ep_{'0' * 24}")
    assert (code, wrong) == (2, "Name what to change, such as --no-enabled.\n")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("Authorization Bearer s3cr3t", "A --header is written `Name: value`: one has no colon."),
        ("Authorization", "A --header is written `Name: value`: one has no colon."),
        ("Authorization Basic s3cr3t:word", "--header has an invalid header name: "),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_being_shown(
    program: Program, header: str, why: str
) -> None:
    code, out, wrong = program.run(
        "ops-webhooks", "create", "https://a.example/hook", "--header", header
    )

    assert (code, out) == (2, "")
    assert wrong.startswith(why)
    assert "s3cr3t" not in wrong
    assert program.run_json("ops-webhooks", "list")["data"] == []
