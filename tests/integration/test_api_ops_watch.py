"""What operators watch over HTTP: now, the last hours, workers, one job, all deliveries."""

from typing import Any

import httpx

from shared.errors import ProviderDown
from shared.store import moves, upkeep
from tests.contract.test_ledger import settle
from tests.front_door import FrontDoor, client_of, pointers, problem

HOOK = {"url": "https://hooks.example.com/x", "events": ["job.canceled", "job.failed"]}


def read(operator: httpx.Client, path: str) -> dict[str, Any]:
    answer = operator.get(f"/ops/v1/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


def renew(door: FrontDoor, *held: moves.Claim) -> None:
    door.world.store.run(
        upkeep.renew(
            "generate+deliver@some-host:77:0a1b2c3d/generate",
            queue="generate",
            threads=8,
            lease_seconds=15,
            held=[(one.job.id, one.fence) for one in held],
        )
    )


# now, the last hours, workers -----------------------------------------------------------------


def test_how_everything_stands_is_told_at_once(door: FrontDoor, operator: httpx.Client) -> None:
    door.create()
    door.create()
    door.world.fail(door.world.claim())
    renew(door)
    operator.post("/ops/v1/queues/generate/pause")

    now = read(operator, "now")

    assert (now["jobs"]["queued"], now["jobs"]["failed"]) == (1, 1)
    assert (now["totals"]["accepted"], now["totals"]["failed"]) == (2, 1)
    assert now["failed_by_code"] == {"provider_rejected": 1}
    assert [(queue["name"], queue["closed"]) for queue in now["queues"]] == [
        ("generate", "paused"),
        ("deliver", None),
    ]
    assert now["workers"]["generate"] == {"processes": 1, "threads": 8}
    assert (now["gate"]["holds"], now["gate"]["removed_models"]) == ([], [])
    assert now["gate"]["rate_per_minute"] is None
    assert now["redis"]["used_bytes"] > 0
    assert "not reachable" not in str(now["redis"]["faults"])


def test_the_last_hours_are_told_step_by_step(door: FrontDoor, operator: httpx.Client) -> None:
    door.world.sweep()
    door.create()

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
    door: FrontDoor, operator: httpx.Client
) -> None:
    assert read(operator, "workers")["data"] == []
    job = door.create()
    held = door.world.claim()
    renew(door, held)

    (worker,) = read(operator, "workers")["data"]

    assert (worker["host"], worker["pid"], worker["queue"]) == ("some-host", 77, "generate")
    assert [(one["id"], one["tenant"], one["step"]) for one in worker["held"]] == [
        (job["id"], door.tenant, "claimed")
    ]


# jobs -----------------------------------------------------------------------------------------


def test_a_job_is_told_with_its_attempts_and_what_the_provider_said(
    door: FrontDoor, operator: httpx.Client
) -> None:
    job = door.create(webhook=HOOK)
    error = ProviderDown("1min.ai failed.")
    error.evidence = 'status 503: {"message":"no capacity"}'
    door.world.store.run(moves.retry(door.world.call(door.world.claim()), error, moves.Again(0)))
    door.world.fail(door.world.claim())
    operator.post(
        "/ops/v1/jobs/retry", json={"filter": {"id": job["id"]}, "expected_count": 1}
    ).raise_for_status()
    door.succeed()

    told = read(operator, f"jobs/{job['id']}")

    assert (told["tenant"], told["status"], told["run"]) == (door.tenant, "succeeded", 2)
    assert [(one["run"], one["number"], one["outcome"]) for one in told["attempts"]] == [
        *((1, 1, "retried"), (1, 2, "failed"), (2, 1, "succeeded"))
    ]
    first = told["attempts"][0]
    assert first["said"] == 'status 503: {"message":"no capacity"}'
    assert first["error_code"] == "provider_down"
    assert [step["step"] for step in first["steps"]] == ["claimed", "calling"]
    assert first["seconds"] >= 0
    assert told["timeline"][0]["status"] == "queued"
    assert told["timeline"][-1]["version"] == told["version"]
    assert [one["type"] for one in told["deliveries"]] == ["job.failed"]
    assert f"/v1/jobs/{job['id']}/image?" in told["image"]["url"]
    own = door.client.get(f"/v1/jobs/{job['id']}").json()
    assert {name: told[name] for name in own if name != "image"} == {
        name: own[name] for name in own if name != "image"
    }
    problem(operator.get("/ops/v1/jobs/job_x"), 404, "not_found")


def test_a_job_that_is_part_of_a_trace_tells_which(door: FrontDoor, operator: httpx.Client) -> None:
    job = door.create()
    assert read(operator, f"jobs/{job['id']}")["trace_id"] is None
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    door.world.client.hset(f"{{dr}}:job:{job['id']}", "trace", traceparent)
    told = read(operator, f"jobs/{job['id']}")
    assert told["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_an_attempt_that_goes_on_has_no_end(door: FrontDoor, operator: httpx.Client) -> None:
    job = door.create()
    door.world.call(door.world.claim())
    (attempt,) = read(operator, f"jobs/{job['id']}")["attempts"]
    assert (attempt["outcome"], attempt["ended_at"], attempt["seconds"]) == ("running", None, None)


def test_jobs_are_found_by_the_beginning_of_an_id_and_by_batch(
    door: FrontDoor, other: FrontDoor, operator: httpx.Client
) -> None:
    job = door.create()
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
    assert read(operator, f"jobs?batch_id={batch['id']}&tenant={door.tenant}")["data"] == []
    body = {"filter": {"batch_id": batch["id"]}, "expected_count": 3}
    assert operator.post("/ops/v1/jobs/cancel", json=body).json()["moved"] == 3


def test_one_job_is_canceled_and_sent_again_by_its_id(
    door: FrontDoor, operator: httpx.Client
) -> None:
    job, _ = door.create(), door.create()
    one = {"filter": {"id": job["id"]}, "expected_count": 1}
    assert operator.post("/ops/v1/jobs/cancel", json=one).json()["moved"] == 1
    assert operator.post("/ops/v1/jobs/retry", json=one).json()["moved"] == 1
    assert door.client.get(f"/v1/jobs/{job['id']}").json()["run"] == 2
    bad = {"filter": {"id": "job_x"}, "dry_run": True}
    assert pointers(operator.post("/ops/v1/jobs/retry", json=bad)) == {"/filter/id"}


# deliveries -----------------------------------------------------------------------------------


def fail_a_delivery(door: FrontDoor) -> str:
    """Let a delivery of a canceled job fail; gives its id."""
    job = door.create(webhook=HOOK)
    door.client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    held = door.world.delivery(nonce=job["id"])
    settle(door.world, held, "failed")
    return held.id


def test_the_deliveries_of_all_tenants_are_found(
    door: FrontDoor, other: FrontDoor, operator: httpx.Client
) -> None:
    mine, theirs = fail_a_delivery(door), fail_a_delivery(other)
    told = read(operator, "deliveries")["data"]
    assert [(one["id"], one["tenant"]) for one in told] == [
        *((theirs, other.tenant), (mine, door.tenant))
    ]
    assert {one["host"] for one in told} == {"hooks.example.com"}
    for query, found in (
        (f"tenant={door.tenant}", [mine]),
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


def test_a_delivery_is_sent_again_by_an_operator(door: FrontDoor, operator: httpx.Client) -> None:
    failed = fail_a_delivery(door)
    again = operator.post(f"/ops/v1/deliveries/{failed}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    held = door.world.delivery()
    problem(operator.post(f"/ops/v1/deliveries/{held.id}/redeliver"), 409, "delivery_sending")
    problem(operator.post("/ops/v1/deliveries/msg_x/redeliver"), 404, "not_found")
    (entry, *_) = read(operator, "audit")["data"]
    assert (entry["action"], entry["target"]) == ("delivery.redeliver", failed)


def test_a_receiver_is_switched_on_by_an_operator(door: FrontDoor, operator: httpx.Client) -> None:
    job = door.create(webhook=HOOK)
    door.client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    settle(door.world, door.world.delivery(nonce=job["id"]), "gone")
    (told,) = read(operator, f"deliveries?job_id={job['id']}")["data"]
    failed, receiver = told["id"], told["endpoint_id"]
    problem(operator.post(f"/ops/v1/deliveries/{failed}/redeliver"), 409, "endpoint_disabled")
    problem(operator.post("/ops/v1/endpoints/ep_x/enable"), 404, "not_found")
    on = operator.post(f"/ops/v1/endpoints/{receiver}/enable").json()
    assert (on["id"], on["tenant"], on["status"]) == (receiver, door.tenant, "healthy")
    assert operator.post(f"/ops/v1/deliveries/{failed}/redeliver").status_code == 202
    actions = [one["action"] for one in read(operator, "audit?limit=2")["data"]]
    assert actions == ["delivery.redeliver", "endpoint.enable"]


def test_the_endpoints_of_all_tenants_are_listed_by_tenant_and_status(
    door: FrontDoor, other: FrontDoor, operator: httpx.Client
) -> None:
    made = {}
    for one in (door, other):
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
    mine = read(operator, f"endpoints?tenant={door.tenant}&limit=1")
    assert [one["tenant"] for one in mine["data"]] == [door.tenant]
    rest = read(operator, f"endpoints?tenant={door.tenant}&cursor={mine['next_cursor']}")
    assert [one["tenant"] for one in rest["data"]] == [door.tenant]
    wrong = f"endpoints?tenant={other.tenant}&cursor={mine['next_cursor']}"
    assert pointers(operator.get(f"/ops/v1/{wrong}")) == {"/query/cursor"}
    assert pointers(operator.get("/ops/v1/endpoints?status=ill")) == {"/query/status"}


def test_an_operator_finds_an_endpoint_that_is_off_with_its_error_and_changes_its_secret(
    door: FrontDoor, operator: httpx.Client
) -> None:
    failed = fail_a_delivery(door)
    receiver = read(operator, f"deliveries/{failed}")["endpoint_id"]
    (well,) = read(operator, "endpoints?status=healthy")["data"]
    assert (well["id"], well["last_error"]["code"]) == (receiver, "status")
    assert read(operator, "endpoints?status=disabled")["data"] == []

    changed = operator.post(f"/ops/v1/endpoints/{receiver}/secret/rotate").json()

    assert changed["tenant"] == door.tenant
    assert changed["secret"].startswith("whsec_")
    assert read(operator, f"endpoints?tenant={door.tenant}")["data"][0]["has_own_secret"]
    problem(operator.post("/ops/v1/endpoints/ep_x/secret/rotate"), 404, "not_found")


def test_what_failed_is_counted_first_and_no_more_is_sent_again(
    door: FrontDoor, other: FrontDoor, operator: httpx.Client
) -> None:
    fail_a_delivery(door)
    fail_a_delivery(other)
    since = {"since": "2020-01-01T00:00:00Z"}

    def again(**body: object) -> httpx.Response:
        return operator.post("/ops/v1/deliveries/redeliver", json={**since, **body})

    assert again(dry_run=True).json() == {"count": 2, "more": False, "moved": 0}
    assert again(dry_run=True, tenant=door.tenant).json()["count"] == 1
    problem(again(expected_count=1), 409, "count_changed")
    assert pointers(again()) == {"/expected_count"}
    assert again(expected_count=1, tenant=door.tenant).json()["moved"] == 1
    assert again(expected_count=1).json() == {"count": 1, "more": False, "moved": 1}
    assert read(operator, "deliveries?status=failed")["data"] == []


def test_whoever_may_only_read_sends_nothing_again(door: FrontDoor, operator: httpx.Client) -> None:
    made = operator.post(
        f"/ops/v1/tenants/{door.tenant}/keys", json={"scopes": ["ops:read"]}
    ).json()
    failed = fail_a_delivery(door)
    with client_of(door.url, made["key"]) as reader:
        assert read(reader, "me")["scopes"] == ["ops:read"]
        for path in ("now", "history", "workers", "deliveries", f"deliveries/{failed}"):
            read(reader, path)
        problem(reader.post(f"/ops/v1/deliveries/{failed}/redeliver"), 403, "forbidden")
        problem(reader.post("/ops/v1/deliveries/redeliver", json={}), 403, "forbidden")
        problem(reader.post("/ops/v1/endpoints/ep_x/enable"), 403, "forbidden")
        problem(reader.post("/ops/v1/endpoints/ep_x/secret/rotate"), 403, "forbidden")
