"""The operator's side over HTTP: tenants, queues, the jobs of all, and the audit."""

import json
from typing import Any

import httpx
import pytest

from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from tests.support.api_server import ApiServer, pointers, problem
from tests.support.models import OTHER_MODEL


def test_a_tenant_is_made_limited_and_read(operator: httpx.Client) -> None:
    body = {"name": "shop", "weight": 2, "max_queued": 5, "daily_credits": 10.5}
    made = operator.post("/ops/v1/tenants", json=body)
    assert made.status_code == 201
    assert made.headers["location"] == "/ops/v1/tenants/shop"
    told = made.json()
    assert told.pop("webhook_secret").startswith("whsec_")
    assert told == operator.get("/ops/v1/tenants/shop").json()
    assert (told["weight"], told["max_queued"], told["may_disable_safety"]) == (2.0, 5, False)
    changed = operator.patch(
        "/ops/v1/tenants/shop", json={"max_queued": None, "requests_per_minute": 60}
    ).json()
    assert (changed["max_queued"], changed["requests_per_minute"]) == (None, 60)
    assert (changed["weight"], changed["daily_credits"]) == (2.0, 10.5)
    problem(operator.post("/ops/v1/tenants", json=body), 409, "tenant_exists")
    names = [one["name"] for one in operator.get("/ops/v1/tenants").json()["data"]]
    assert "shop" in names


def test_a_tenant_has_a_retention_of_its_own(operator: httpx.Client) -> None:
    kept = {"image_retention_seconds": 0, "record_retention_seconds": 3600}
    made = operator.post("/ops/v1/tenants", json={"name": "kept", **kept}).json()
    assert {name: made[name] for name in kept} == kept
    changed = operator.patch("/ops/v1/tenants/kept", json={"record_retention_seconds": None})
    assert changed.json()["record_retention_seconds"] is None
    assert changed.json()["image_retention_seconds"] == 0
    longer = {"image_retention_seconds": 61, "record_retention_seconds": 60}
    path, image, record = "/ops/v1/tenants/kept", *(f"/{name}" for name in longer)
    assert pointers(operator.patch(path, json=longer)) == {image}
    bad = {"name": "b", "weight": 0, **longer}
    assert pointers(operator.post("/ops/v1/tenants", json=bad)) == {image, "/weight"}
    # one that changes is checked against the other
    operator.patch(path, json={"record_retention_seconds": 60}).raise_for_status()
    assert pointers(operator.patch(path, json={"image_retention_seconds": 61})) == {image}
    operator.patch(path, json={"image_retention_seconds": 50}).raise_for_status()
    shorter = operator.patch(path, json={"record_retention_seconds": 49})
    assert pointers(shorter) == {record}
    assert "must be at least `image_retention_seconds` (50)" in shorter.text
    assert operator.patch(path, json={"weight": 2}).is_success


def test_tenants_are_listed_page_by_page(operator: httpx.Client, other: ApiServer) -> None:
    first = operator.get("/ops/v1/tenants?limit=1").json()
    second = operator.get(f"/ops/v1/tenants?limit=1&cursor={first['next_cursor']}").json()
    assert first["data"][0]["name"] < second["data"][0]["name"]
    assert second["next_cursor"] is None
    problem(operator.get("/ops/v1/tenants?cursor=%3A"), 422, "invalid_request")


def test_what_cannot_be_is_refused_at_its_place(operator: httpx.Client) -> None:
    bad: dict[str, Any] = {"name": "a:b", "weight": 0, "max_running": -1, "budget_action": "x"}
    found = pointers(operator.post("/ops/v1/tenants", json={**bad, "more": 1}))
    assert found == {"/name", "/weight", "/max_running", "/budget_action", "/more"}
    assert pointers(operator.patch("/ops/v1/tenants/x", json={})) == {""}
    assert pointers(operator.patch("/ops/v1/tenants/x", json={"may_disable_safety": None})) == {
        "/may_disable_safety"
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ops/v1/tenants/nobody"),
        ("PATCH", "/ops/v1/tenants/nobody"),
        ("GET", "/ops/v1/tenants/nobody/keys"),
        ("POST", "/ops/v1/tenants/nobody/keys"),
        ("GET", "/ops/v1/tenants/a:b"),
        ("GET", "/ops/v1/tenants/%00/keys"),
        ("DELETE", "/ops/v1/tenants/nobody/keys/000000000000"),
        ("POST", "/ops/v1/tenants/nobody/keys/x/rotate"),
        ("POST", "/ops/v1/queues/other/pause"),
    ],
)
def test_what_is_not_there_is_not_found(operator: httpx.Client, method: str, path: str) -> None:
    body = {"weight": 1} if method == "PATCH" else {} if path.endswith("keys") else None
    problem(operator.request(method, path, json=body), 404, "not_found")


def test_a_queue_is_paused_and_a_job_says_so(api_server: ApiServer, operator: httpx.Client) -> None:
    job = api_server.create()
    paused = operator.post("/ops/v1/queues/generate/pause").json()
    assert (paused["paused"], paused["blocked_by"], paused["depth"]) == (True, "paused", 1)
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["waiting_on"] == "paused"
    going = operator.post("/ops/v1/queues/generate/resume").json()
    assert (going["paused"], going["paused_at"], going["blocked_by"]) == (False, None, None)
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["waiting_on"] == "queue"


def test_the_queues_tell_how_they_stand_and_why_the_gate_is_closed(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    now = int(api_server.world.client.time()[0]) * 1000
    later = now + 60_000
    fields: dict[str, int | str] = {
        "hold:storage": later,
        "hold:provider_down:model:m": later,
        "fails:model:m": 5,
        "hold:provider_credits:team:acme": later,
        "credits:acme": "105 35",
        "key:k1": f"…1111 acme {now}",
        "key:k2": f"…2222 other {now}",
        "dead:k2": now,
        "gone:old": now,
    }
    for name, value in fields.items():
        api_server.world.client.hset(keys.gate(), name, value)
    told = operator.get("/ops/v1/queues").json()
    assert [queue["name"] for queue in told["data"]] == ["generate", "deliver"]
    assert [queue["blocked_by"] for queue in told["data"]] == ["storage", None]
    gate = told["gate"]
    assert {(hold["reason"], hold["scope"], hold["subject"]) for hold in gate["holds"]} == {
        ("storage", "all", None),
        ("provider_down", "model", "m"),
        ("provider_credits", "team", "acme"),
    }
    by_reason = {hold["reason"]: hold for hold in gate["holds"]}
    assert by_reason["provider_down"]["failures_in_a_row"] == 5
    spent = by_reason["provider_credits"]
    assert (spent["credits_needed"], spent["credits_left"], spent["state"]) == (105, 35, "active")
    assert [(key["id"], key["masked"], key["held_by"]) for key in gate["keys"]] == [
        ("k1", "…1111", "provider_credits"),
        ("k2", "…2222", "provider_auth"),
    ]
    assert gate["removed_models"] == ["old"]
    api_server.world.client.hset(keys.gate(), "probe:provider_down:model:m", 1)
    holds = operator.get("/ops/v1/queues").json()["gate"]["holds"]
    assert [hold["state"] for hold in holds if hold["scope"] == "model"] == ["probing"]


def test_a_model_is_paused_and_resumed_alone(api_server: ApiServer, operator: httpx.Client) -> None:
    model = f"/ops/v1/models/{DEFAULT_MODEL}"
    assert operator.post(f"{model}/pause").json() == {"id": DEFAULT_MODEL, "paused": True}
    paused = api_server.create()["id"]
    other = api_server.create(model=OTHER_MODEL)["id"]
    assert api_server.world.claim().job.id == other
    assert api_server.client.get(f"/v1/jobs/{paused}").json()["waiting_on"] == "paused"
    assert operator.get("/ops/v1/queues").json()["gate"]["paused_models"] == [DEFAULT_MODEL]
    assert operator.post(f"{model}/resume").json()["paused"] is False
    assert api_server.world.claim().job.id == paused
    problem(operator.post("/ops/v1/models/nobody/nothing/pause"), 404, "not_found")
    entries = operator.get("/ops/v1/audit").json()["data"]
    assert [(one["action"], one["target"]) for one in entries[:2]] == [
        ("model.resume", DEFAULT_MODEL),
        ("model.pause", DEFAULT_MODEL),
    ]


def test_the_jobs_of_all_tenants_are_listed_with_whose_they_are(
    api_server: ApiServer, other: ApiServer, operator: httpx.Client
) -> None:
    mine, theirs = api_server.create(tags=["blue"]), other.create()
    told = operator.get("/ops/v1/jobs").json()
    assert [(job["tenant"], job["id"]) for job in told["data"]] == [
        (other.tenant, theirs["id"]),
        (api_server.tenant, mine["id"]),
    ]
    first = operator.get("/ops/v1/jobs?limit=1").json()
    second = operator.get(f"/ops/v1/jobs?limit=1&cursor={first['next_cursor']}").json()
    assert [page["data"][0]["id"] for page in (first, second)] == [theirs["id"], mine["id"]]
    assert second["next_cursor"] is None
    for query in (
        f"tenant={api_server.tenant}",
        "tag=blue",
        "tag=blue&q=LIGHTHOUSE",
        f"tag=blue&tenant={api_server.tenant}",
    ):
        found = operator.get(f"/ops/v1/jobs?{query}&status=queued").json()["data"]
        assert [job["id"] for job in found] == [mine["id"]]
    assert operator.get("/ops/v1/jobs?status=failed").json()["data"] == []
    assert operator.get("/ops/v1/jobs?created_before=2020-01-01T00:00:00Z").json()["data"] == []
    assert pointers(operator.get("/ops/v1/jobs?step=1&status=x")) == {
        *("/query/step", "/query/status")
    }


def bulk(operator: httpx.Client, action: str, **body: object) -> httpx.Response:
    return operator.post(f"/ops/v1/jobs/{action}", json={"filter": {}, **body})


def test_many_jobs_are_counted_first_and_no_more_are_moved(
    api_server: ApiServer, other: ApiServer, operator: httpx.Client
) -> None:
    jobs = [api_server.create(), api_server.create(), other.create()]
    only_mine = {"filter": {"tenant": api_server.tenant}}
    counted = bulk(operator, "cancel", **only_mine, dry_run=True).json()
    assert counted == {"count": 2, "more": False, "moved": 0, "refused": {}}
    jobs.append(api_server.create())
    refused = problem(bulk(operator, "cancel", **only_mine, expected_count=2), 409, "count_changed")
    assert refused["count"] == 3
    assert {api_server.world.read(job["id"], "").job.state.value for job in jobs} == {"queued"}
    moved = bulk(operator, "cancel", **only_mine, expected_count=3).json()
    assert (moved["count"], moved["moved"]) == (3, 3)
    assert other.client.get(f"/v1/jobs/{jobs[2]['id']}").json()["status"] == "queued"
    assert bulk(operator, "retry", dry_run=True).json()["count"] == 0
    canceled = {"filter": {"status": "canceled"}}
    assert bulk(operator, "retry", **canceled, expected_count=3).json()["moved"] == 3
    assert operator.get("/ops/v1/jobs?status=queued").json()["data"][0]["run"] == 2


def test_a_bulk_move_that_cannot_be_is_refused(operator: httpx.Client) -> None:
    assert pointers(bulk(operator, "cancel")) == {"/expected_count"}
    both = bulk(operator, "cancel", dry_run=True, expected_count=3)
    assert pointers(both) == {"/expected_count"}
    succeeded = {"filter": {"status": "succeeded"}, "dry_run": True}
    assert pointers(bulk(operator, "retry", **succeeded)) == {"/filter/status"}
    assert pointers(operator.post("/ops/v1/jobs/retry", json={"dry_run": True})) == {"/filter"}


def test_every_write_is_in_the_audit_by_whom_and_for_which_request(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    headers = {"x-request-id": "req-7"}
    job = api_server.create()
    made = operator.post("/ops/v1/tenants", json={"name": "shop"}, headers=headers)
    key = operator.post("/ops/v1/tenants/shop/keys", json={}, headers=headers).json()
    operator.post(f"/ops/v1/tenants/shop/keys/{key['id']}/rotate", headers=headers)
    operator.delete(f"/ops/v1/tenants/shop/keys/{key['id']}", headers=headers)
    operator.patch("/ops/v1/tenants/shop", json={"weight": 2}, headers=headers)
    operator.post("/ops/v1/queues/deliver/pause", headers=headers)
    operator.post("/ops/v1/queues/deliver/resume", headers=headers)
    bulk_body = {"filter": {"tenant": api_server.tenant}, "expected_count": 1}
    operator.post("/ops/v1/jobs/cancel", json=bulk_body, headers=headers)
    first = operator.get("/ops/v1/audit?limit=3").json()
    rest = operator.get(f"/ops/v1/audit?limit=200&cursor={first['next_cursor']}").json()
    entries = [one for one in first["data"] + rest["data"] if one["request_id"] == "req-7"]
    assert [(one["action"], one["target"]) for one in entries][::-1] == [
        ("tenant.create", "shop"),
        ("key.create", "shop"),
        ("key.rotate", "shop"),
        ("key.revoke", "shop"),
        ("tenant.set", "shop"),
        ("queue.pause", "deliver"),
        ("queue.resume", "deliver"),
        ("jobs.cancel", api_server.tenant),
    ]
    assert {one["by"] for one in entries} == {api_server.credentials.ops_key.split("_")[1]}
    told = str(first) + str(rest)
    assert key["key"] not in told
    assert made.json()["webhook_secret"] not in told
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"


JSON = {"content-type": "application/json"}
HUGE = b"9" * 5000


def test_numbers_and_times_are_taken_in_every_form(operator: httpx.Client) -> None:
    body = b'\xef\xbb\xbf{"name":"floats","max_running":2.0,"requests_per_minute":6e1}'
    made = operator.post("/ops/v1/tenants", content=body, headers=JSON).json()
    assert (made["max_running"], made["requests_per_minute"]) == (2, 60)
    key = operator.post(
        "/ops/v1/tenants/floats/keys", json={"expires_at": "2099-01-31t12:00:00.123456789z"}
    ).json()
    assert key["expires_at"] == "2099-01-31T12:00:00.123Z"
    path = f"/ops/v1/tenants/floats/keys/{key['id']}/rotate"
    assert operator.post(path, json={"grace_seconds": 60.0}).status_code == 201
    since = "2026-01-31T12:00:00.1234567Z"
    bulk = {"filter": {"created_after": since, "status": "failed"}, "expected_count": 0.0}
    assert operator.post("/ops/v1/jobs/retry", json=bulk).json()["count"] == 0
    again = {"since": since, "expected_count": 0.0}
    assert operator.post("/ops/v1/deliveries/redeliver", json=again).json()["count"] == 0
    assert operator.get("/ops/v1/jobs", params={"created_before": since}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("tenants", rb'{"name":"\ud800"}', "/name"),
        ("tenants", b'{"name":"\xff"}', "/name"),
        ("tenants", b'{"name":"x","max_running":%b}' % HUGE, "/max_running"),
        ("tenants", b'{"name":"x","max_queued":true}', "/max_queued"),
        ("tenants", b'{"name":"x","max_queued":1.5}', "/max_queued"),
        ("tenants", b'{"name":"x","daily_credits":NaN}', "/daily_credits"),
        ("tenants", b'{"name":"x","weight":1e400}', "/weight"),
        ("tenants", json.dumps({"name": "x"}).encode("utf-16"), ""),
        ("tenants/floats/keys", rb'{"label":"\ud83d"}', "/label"),
        ("tenants/floats/keys", rb'{"label":"a\u0000b"}', "/label"),
        ("jobs/cancel", rb'{"filter":{"tag":"\ude00"},"dry_run":true}', "/filter/tag"),
        ("deliveries/redeliver", b'{"since":"now","dry_run":true}', "/since"),
    ],
)
def test_a_value_that_cannot_be_is_named(
    operator: httpx.Client, path: str, body: bytes, pointer: str
) -> None:
    answer = operator.post(f"/ops/v1/{path}", content=body, headers=JSON)
    assert pointers(answer) == {pointer}
