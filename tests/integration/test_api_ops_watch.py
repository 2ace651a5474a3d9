"""What operators watch over HTTP: now, the last hours, workers, one job, all deliveries."""

import re
from typing import Any

import httpx

from shared.errors import ProviderDown
from shared.store import keys, maintenance, transitions
from tests.contract.test_delivery_log import settle
from tests.support.api_server import ApiServer, client_of, pointers, problem

WEBHOOK = {"url": "https://hooks.example.com/x", "events": ["job.canceled", "job.failed"]}


def read(operator: httpx.Client, path: str) -> dict[str, Any]:
    answer = operator.get(f"/ops/v1/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


def renew(api_server: ApiServer, *held: transitions.Claim) -> None:
    api_server.world.store.run(
        maintenance.renew(
            "generate+deliver@some-host:77:0a1b2c3d/generate",
            queue="generate",
            threads=8,
            lease_seconds=15,
            held=[(one.job.id, one.fence) for one in held],
        )
    )


# now, the last hours, workers -----------------------------------------------------------------


def test_how_everything_stands_is_told_at_once(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    api_server.create()
    api_server.create()
    api_server.world.fail(api_server.world.claim())
    renew(api_server)
    operator.post("/ops/v1/queues/generate/pause")

    now = read(operator, "overview")

    assert (now["jobs"]["queued"], now["jobs"]["failed"]) == (1, 1)
    assert (now["totals"]["accepted"], now["totals"]["failed"]) == (2, 1)
    assert now["failed_by_code"] == {"provider_rejected": 1}
    assert [(queue["name"], queue["blocked_by"]) for queue in now["queues"]] == [
        ("generate", "paused"),
        ("deliver", None),
    ]
    assert now["workers"]["generate"] == {"processes": 1, "threads": 8}
    assert (now["gate"]["holds"], now["gate"]["removed_models"]) == ([], [])
    assert now["gate"]["rate_per_minute"] is None
    assert now["redis"]["used_bytes"] > 0
    assert "not reachable" not in str(now["redis"]["faults"])


def test_the_last_hours_are_told_step_by_step(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    api_server.world.sweep()
    api_server.create()

    told = read(operator, "history?minutes=10")

    assert told["step_seconds"] == 10
    assert {len(column) for column in told["points"].values()} == {60}
    assert told["totals"]["accepted"] == 1
    assert read(operator, "history")["step_seconds"] == 10
    assert read(operator, "history?minutes=2880")["step_seconds"] == 300
    assert pointers(operator.get("/ops/v1/history?minutes=2881&x=1")) == {
        *("/query/minutes", "/query/x")
    }


def test_each_worker_is_told_with_its_host_and_what_it_does(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    assert read(operator, "workers")["data"] == []
    job = api_server.create()
    held = api_server.world.claim()
    renew(api_server, held)

    (worker,) = read(operator, "workers")["data"]

    assert (worker["host"], worker["pid"], worker["queue"]) == ("some-host", 77, "generate")
    assert [(one["id"], one["tenant"], one["step"]) for one in worker["held"]] == [
        (job["id"], api_server.tenant, "claimed")
    ]


# jobs -----------------------------------------------------------------------------------------


def test_a_job_is_told_with_its_attempts_and_what_the_provider_said(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    job = api_server.create(webhook=WEBHOOK)
    error = ProviderDown("1min.ai failed.")
    error.evidence = 'status 503: {"message":"no capacity"}'
    api_server.world.store.run(
        transitions.requeue(
            api_server.world.call(api_server.world.claim()), error, transitions.Requeue(0)
        )
    )
    api_server.world.fail(api_server.world.claim())
    operator.post(
        "/ops/v1/jobs/retry", json={"filter": {"id": job["id"]}, "expected_count": 1}
    ).raise_for_status()
    api_server.succeed()

    told = read(operator, f"jobs/{job['id']}")

    assert (told["tenant"], told["status"], told["run"]) == (api_server.tenant, "succeeded", 2)
    assert [(one["run"], one["number"], one["outcome"]) for one in told["attempts"]] == [
        *((1, 1, "retried"), (1, 2, "failed"), (2, 1, "succeeded"))
    ]
    first = told["attempts"][0]
    assert first["response_excerpt"] == 'status 503: {"message":"no capacity"}'
    assert first["error_code"] == "provider_down"
    assert [step["step"] for step in first["steps"]] == ["claimed", "calling"]
    assert first["seconds"] >= 0
    assert told["timeline"][0]["status"] == "queued"
    assert told["timeline"][-1]["version"] == told["version"]
    assert [one["type"] for one in told["deliveries"]] == ["job.failed"]
    assert f"/v1/jobs/{job['id']}/image?" in told["image"]["url"]
    own = api_server.client.get(f"/v1/jobs/{job['id']}").json()
    assert {name: told[name] for name in own if name != "image"} == {
        name: own[name] for name in own if name != "image"
    }
    problem(operator.get("/ops/v1/jobs/job_x"), 404, "not_found")


def test_an_attempt_without_an_error_is_not_shown_with_that_of_another(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    job_id = api_server.create()["id"]
    api_server.world.claim()
    api_server.world.cancel(job_id, api_server.tenant)
    api_server.client.post(f"/v1/jobs/{job_id}/retry").raise_for_status()
    api_server.world.fail(api_server.world.claim())
    let_all_happen_at_once(api_server, job_id)

    told = read(operator, f"jobs/{job_id}")

    assert len({one["ended_at"] for one in told["attempts"]}) == 1
    assert [(one["run"], one["number"], one["outcome"]) for one in told["attempts"]] == [
        *((1, 1, "canceled"), (2, 1, "failed"))
    ]
    assert [one["error_code"] for one in told["attempts"]] == [None, "provider_rejected"]


def let_all_happen_at_once(api_server: ApiServer, job_id: str) -> None:
    """Give all changes and errors of a job the same millisecond, as a fast machine may."""
    client, key = api_server.world.client, keys.job(job_id)
    for field in ("hist", "log"):
        same = re.sub(r"(?<=\d )\d+(?= [a-z])", "1", str(client.hget(key, field)))
        client.hset(key, field, same)


def test_a_job_that_is_part_of_a_trace_tells_which(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    job = api_server.create()
    assert read(operator, f"jobs/{job['id']}")["trace_id"] is None
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    api_server.world.client.hset(keys.job(job["id"]), "trace", traceparent)
    told = read(operator, f"jobs/{job['id']}")
    assert told["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_an_attempt_that_goes_on_has_no_end(api_server: ApiServer, operator: httpx.Client) -> None:
    job = api_server.create()
    api_server.world.call(api_server.world.claim())
    (attempt,) = read(operator, f"jobs/{job['id']}")["attempts"]
    assert (attempt["outcome"], attempt["ended_at"], attempt["seconds"]) == ("running", None, None)


def test_jobs_are_found_by_the_beginning_of_an_id_and_by_batch(
    api_server: ApiServer, other: ApiServer, operator: httpx.Client
) -> None:
    job = api_server.create()
    batch = other.client.post(
        "/v1/batches", json={"input": {"prompt": "p"}, "variations": 3}
    ).json()
    ids = [one["id"] for one in read(operator, f"jobs?id={job['id']}")["data"]]
    assert ids == [job["id"]]
    assert len(read(operator, f"jobs?id={job['id'][:8]}")["data"]) == 4
    assert read(operator, f"jobs?id={job['id']}&status=failed")["data"] == []
    in_batch = read(operator, f"jobs?batch_id={batch['id']}&limit=2")
    assert {one["tenant"] for one in in_batch["data"]} == {other.tenant}
    assert len(in_batch["data"]) == 2
    assert in_batch["next_cursor"]
    assert read(operator, "jobs?batch_id=batch_none")["data"] == []
    assert read(operator, f"jobs?batch_id={batch['id']}&tenant={api_server.tenant}")["data"] == []
    body = {"filter": {"batch_id": batch["id"]}, "expected_count": 3}
    assert operator.post("/ops/v1/jobs/cancel", json=body).json()["moved"] == 3


def test_one_job_is_canceled_and_sent_again_by_its_id(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    job, _ = api_server.create(), api_server.create()
    one = {"filter": {"id": job["id"]}, "expected_count": 1}
    assert operator.post("/ops/v1/jobs/cancel", json=one).json()["moved"] == 1
    assert operator.post("/ops/v1/jobs/retry", json=one).json()["moved"] == 1
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["run"] == 2
    bad = {"filter": {"id": "job_x"}, "dry_run": True}
    assert pointers(operator.post("/ops/v1/jobs/retry", json=bad)) == {"/filter/id"}


# deliveries -----------------------------------------------------------------------------------


def fail_a_delivery(api_server: ApiServer) -> str:
    """Let a delivery of a canceled job fail; return its id."""
    job = api_server.create(webhook=WEBHOOK)
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    held = api_server.world.delivery(nonce=job["id"])
    settle(api_server.world, held, "failed")
    return held.id


def test_the_deliveries_of_all_tenants_are_found(
    api_server: ApiServer, other: ApiServer, operator: httpx.Client
) -> None:
    mine, theirs = fail_a_delivery(api_server), fail_a_delivery(other)
    told = read(operator, "deliveries")["data"]
    assert [(one["id"], one["tenant"]) for one in told] == [
        *((theirs, other.tenant), (mine, api_server.tenant))
    ]
    assert {one["host"] for one in told} == {"hooks.example.com"}
    for query, found in (
        (f"tenant={api_server.tenant}", [mine]),
        ("status=failed&limit=1", [theirs]),
        ("host=elsewhere.example", []),
        (f"job_id={told[1]['job_id']}", [mine]),
        ("status=delivered", []),
    ):
        assert [one["id"] for one in read(operator, f"deliveries?{query}")["data"]] == found
    first = read(operator, "deliveries?limit=1")
    second = read(operator, f"deliveries?limit=1&cursor={first['next_cursor']}")
    assert [page["data"][0]["id"] for page in (first, second)] == [theirs, mine]
    assert len(read(operator, f"deliveries/{mine}")["attempts"]) == 1
    problem(operator.get("/ops/v1/deliveries/msg_x"), 404, "not_found")


def test_a_delivery_is_sent_again_by_an_operator(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    failed = fail_a_delivery(api_server)
    again = operator.post(f"/ops/v1/deliveries/{failed}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    held = api_server.world.delivery()
    problem(operator.post(f"/ops/v1/deliveries/{held.id}/redeliver"), 409, "delivery_sending")
    problem(operator.post("/ops/v1/deliveries/msg_x/redeliver"), 404, "not_found")
    (entry, *_) = read(operator, "audit")["data"]
    assert (entry["action"], entry["target"]) == ("delivery.redeliver", failed)


def test_a_receiver_is_switched_on_by_an_operator(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    job = api_server.create(webhook=WEBHOOK)
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    settle(api_server.world, api_server.world.delivery(nonce=job["id"]), "gone")
    (told,) = read(operator, f"deliveries?job_id={job['id']}")["data"]
    failed, receiver = told["id"], told["endpoint_id"]
    problem(operator.post(f"/ops/v1/deliveries/{failed}/redeliver"), 409, "endpoint_disabled")
    problem(operator.post("/ops/v1/endpoints/ep_x/enable"), 404, "not_found")
    on = operator.post(f"/ops/v1/endpoints/{receiver}/enable").json()
    assert (on["id"], on["tenant"], on["status"]) == (receiver, api_server.tenant, "healthy")
    assert operator.post(f"/ops/v1/deliveries/{failed}/redeliver").status_code == 202
    actions = [one["action"] for one in read(operator, "audit?limit=2")["data"]]
    assert actions == ["delivery.redeliver", "endpoint.enable"]


def test_the_endpoints_of_all_tenants_are_listed_by_tenant_and_status(
    api_server: ApiServer, other: ApiServer, operator: httpx.Client
) -> None:
    made = {}
    for one in (api_server, other):
        for place in ("a", "b"):
            body = {"url": f"https://example.com/{place}"}
            answer = one.client.post("/v1/webhooks/endpoints", json=body).raise_for_status()
            made[answer.json()["id"]] = one.tenant
    first = read(operator, "endpoints?limit=3")
    second = read(operator, f"endpoints?limit=3&cursor={first['next_cursor']}")
    found = [*first["data"], *second["data"]]
    assert [len(first["data"]), second["next_cursor"]] == [3, None]
    assert {one["id"]: one["tenant"] for one in found} == made
    assert [one["tenant"] for one in found] == sorted(made.values())
    mine = read(operator, f"endpoints?tenant={api_server.tenant}&limit=1")
    assert [one["tenant"] for one in mine["data"]] == [api_server.tenant]
    rest = read(operator, f"endpoints?tenant={api_server.tenant}&cursor={mine['next_cursor']}")
    assert [one["tenant"] for one in rest["data"]] == [api_server.tenant]
    wrong = f"endpoints?tenant={other.tenant}&cursor={mine['next_cursor']}"
    assert pointers(operator.get(f"/ops/v1/{wrong}")) == {"/query/cursor"}
    assert pointers(operator.get("/ops/v1/endpoints?status=ill")) == {"/query/status"}


def test_an_operator_finds_an_endpoint_that_is_off_with_its_error_and_changes_its_secret(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    failed = fail_a_delivery(api_server)
    receiver = read(operator, f"deliveries/{failed}")["endpoint_id"]
    (well,) = read(operator, "endpoints?status=healthy")["data"]
    assert (well["id"], well["last_error"]["code"]) == (receiver, "status")
    assert read(operator, "endpoints?status=disabled")["data"] == []

    changed = operator.post(f"/ops/v1/endpoints/{receiver}/secret/rotate").json()

    assert changed["tenant"] == api_server.tenant
    assert changed["secret"].startswith("whsec_")
    assert read(operator, f"endpoints?tenant={api_server.tenant}")["data"][0]["has_own_secret"]
    problem(operator.post("/ops/v1/endpoints/ep_x/secret/rotate"), 404, "not_found")


def test_what_failed_is_counted_first_and_no_more_is_sent_again(
    api_server: ApiServer, other: ApiServer, operator: httpx.Client
) -> None:
    fail_a_delivery(api_server)
    fail_a_delivery(other)
    since = {"since": "2020-01-01T00:00:00Z"}

    def again(**body: object) -> httpx.Response:
        return operator.post("/ops/v1/deliveries/redeliver", json={**since, **body})

    assert again(dry_run=True).json() == {"count": 2, "more": False, "moved": 0}
    assert again(dry_run=True, tenant=api_server.tenant).json()["count"] == 1
    problem(again(expected_count=1), 409, "count_changed")
    assert pointers(again()) == {"/expected_count"}
    assert pointers(again(dry_run=True, expected_count=1)) == {"/expected_count"}
    assert again(expected_count=1, tenant=api_server.tenant).json()["moved"] == 1
    assert again(expected_count=1).json() == {"count": 1, "more": False, "moved": 1}
    assert read(operator, "deliveries?status=failed")["data"] == []


def test_whoever_may_only_read_sends_nothing_again(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    made = operator.post(
        f"/ops/v1/tenants/{api_server.tenant}/keys", json={"scopes": ["ops:read"]}
    ).json()
    failed = fail_a_delivery(api_server)
    with client_of(api_server.url, made["key"]) as reader:
        assert read(reader, "me")["scopes"] == ["ops:read"]
        for path in ("overview", "history", "workers", "deliveries", f"deliveries/{failed}"):
            read(reader, path)
        problem(reader.post(f"/ops/v1/deliveries/{failed}/redeliver"), 403, "forbidden")
        problem(reader.post("/ops/v1/deliveries/redeliver", json={}), 403, "forbidden")
        problem(reader.post("/ops/v1/endpoints/ep_x/enable"), 403, "forbidden")
        problem(reader.post("/ops/v1/endpoints/ep_x/secret/rotate"), 403, "forbidden")
