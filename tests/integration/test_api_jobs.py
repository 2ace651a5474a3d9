"""A job over HTTP: asked for, read, listed, waited for, canceled."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import orjson
import pytest
import redis

from sandbox.wait import wait_until
from shared import ids
from shared.errors import ModelGone
from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys, transitions
from tests.integration.conftest import both_ways
from tests.support.api_server import (
    PROMPT,
    ApiServer,
    client_of,
    pointers,
    problem,
    served,
    settings,
    tenant_at,
)
from tests.support.bad_bodies import BAD_BODIES

JSON = {"content-type": "application/json"}


@both_ways
def url(redis_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with served(settings(redis_url), has_fast_route=request.param) as url:
        yield url


@pytest.mark.parametrize(
    "path", ["jobs/{id}/cancel", "jobs/{id}/retry", "jobs/{id}/reproduce", "webhooks/secret/rotate"]
)
def test_a_member_that_an_operation_does_not_have_is_not_ignored(
    api_server: ApiServer, path: str
) -> None:
    job = api_server.client.post("/v1/jobs", json=PROMPT).json()["id"]
    path = f"/v1/{path.format(id=job)}"
    assert pointers(api_server.client.post(path, json={"input": {"seed": 9}})) == {"/input"}
    for empty in (b"", b" {} ", b"null"):
        assert api_server.client.post(path, content=empty).status_code in {200, 202, 409}


@pytest.mark.parametrize("path", ["jobs/{id}", "webhooks/endpoints/end_1"])
def test_a_deletion_does_not_ignore_members_either(api_server: ApiServer, path: str) -> None:
    job = api_server.client.post("/v1/jobs", json=PROMPT).json()["id"]
    api_server.client.post(f"/v1/jobs/{job}/cancel")
    url = f"/v1/{path.format(id=job)}"
    answer = api_server.client.request("DELETE", url, json={"dry_run": True})
    assert pointers(answer) == {"/dry_run"}
    assert api_server.client.get(f"/v1/jobs/{job}").status_code == 200
    assert api_server.client.request("DELETE", url, json={}).status_code in {204, 404}


def test_more_faults_than_are_named_are_not_counted_as_all(api_server: ApiServer) -> None:
    wrong = {**PROMPT, **{f"unknown_{number}": 1 for number in range(130)}}
    body = problem(api_server.client.post("/v1/jobs", json=wrong), 422, "invalid_request")
    assert len(body["errors"]) == 100
    assert body["detail"] == "The request has 100 errors or more; these are the first."


def test_an_accepted_job_is_shown_with_every_parameter(api_server: ApiServer) -> None:
    answer = api_server.client.post(
        "/v1/jobs",
        json={
            "model": DEFAULT_MODEL,
            "input": {"prompt": "A lighthouse at dawn", "aspect_ratio": "16:9", "seed": 7},
            "webhook": {"url": "https://example.com/hook", "headers": {"X-Secret": "s"}},
            "metadata": {"order": "A-17"},
            "tags": ["catalogue"],
            "deadline_seconds": 600,
        },
    )
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["etag"] == 'W/"1"'
    assert job["status"] == "queued"
    assert job["waiting_on"] == "queue"
    assert job["position"] == 0
    assert job["input"] == {
        "prompt": "A lighthouse at dawn",
        "aspect_ratio": "16:9",
        "output_format": "webp",
        "output_quality": 80,
        "num_inference_steps": 4,
        "go_fast": True,
        "megapixels": "1",
        "disable_safety_checker": False,
        "seed": 7,
    }
    assert job["metadata"] == {"order": "A-17"}
    assert job["webhook"]["url"] == "https://example.com/hook"
    assert set(job["webhook"]) == {"url", "events"}


def test_what_the_202_says_is_what_is_read_later(api_server: ApiServer) -> None:
    job = api_server.create(
        tags=["a", "b"], metadata={"k": "v"}, priority="high", on_unknown="fail"
    )
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json() == job


def test_a_job_s_retention_shows_when_it_ends_and_a_reproduction_has_it_too(
    api_server: ApiServer,
) -> None:
    job_id = api_server.create(retention={"image_seconds": 60, "record_seconds": 3600})["id"]
    api_server.succeed()
    job = api_server.client.get(f"/v1/jobs/{job_id}").json()
    assert _seconds(job, job["expires_at"]) == 3600
    assert _seconds(job, job["image"]["expires_at"]) == 60

    again = api_server.client.post(f"/v1/jobs/{job_id}/reproduce").json()
    api_server.succeed()
    job = api_server.client.get(f"/v1/jobs/{again['id']}").json()
    assert _seconds(job, job["expires_at"]) == 3600


def _seconds(job: dict[str, Any], until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(job["finished_at"])).seconds


def test_jobs_queue_behind_each_other(api_server: ApiServer) -> None:
    assert [api_server.create()["position"] for _ in range(3)] == [0, 1, 2]


def test_the_seed_is_chosen_when_the_job_is_accepted_and_stays(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    again = api_server.client.get(f"/v1/jobs/{job['id']}").json()
    assert again["input"]["seed"] == job["input"]["seed"]


def test_no_bad_body_ever_reaches_redis(api_server: ApiServer) -> None:
    before = accepts(api_server.world.client)
    for body, pointer in BAD_BODIES:
        answer = api_server.client.post("/v1/jobs", content=body, headers=JSON)
        assert pointers(answer) == {pointer}
    assert accepts(api_server.world.client) == before
    assert list(api_server.world.client.scan_iter("{dr}:job*")) == []


def accepts(client: "redis.Redis") -> int:
    """Count what was ever written: every accept writes to the stream that wakes."""
    return int(client.info("commandstats").get("cmdstat_xadd", {"calls": 0})["calls"])


# idempotency ----------------------------------------------------------------------------------


def test_of_two_idempotency_keys_none_is_ignored(api_server: ApiServer) -> None:
    headers = [("idempotency-key", "order-17"), ("idempotency-key", "order-18")]
    answer = api_server.client.post("/v1/jobs", json=PROMPT, headers=headers)
    assert pointers(answer) == {"/header/Idempotency-Key"}


def test_the_same_key_and_body_make_one_job(api_server: ApiServer) -> None:
    headers = {"idempotency-key": "order-17", **JSON}
    first = api_server.client.post("/v1/jobs", content=b'{"input":{"prompt":"p"}}', headers=headers)
    again = api_server.client.post(
        "/v1/jobs", content=b'{ "input": {"prompt":"p"} }', headers=headers
    )
    assert first.status_code == again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers


def test_a_hundred_at_once_with_one_key_make_one_job(api_server: ApiServer) -> None:
    def ask(_: int) -> httpx.Response:
        return api_server.client.post("/v1/jobs", json=PROMPT, headers={"idempotency-key": "once"})

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_the_same_key_with_another_body_is_refused(api_server: ApiServer) -> None:
    headers = {"idempotency-key": "order-17"}
    first = api_server.client.post("/v1/jobs", json=PROMPT, headers=headers)
    other = api_server.client.post("/v1/jobs", json={"input": {"prompt": "other"}}, headers=headers)
    assert problem(other, 422, "idempotency_key_reused")["job_id"] == first.json()["id"]


def test_keys_of_two_tenants_have_nothing_to_do_with_each_other(api_server: ApiServer) -> None:
    headers = {"idempotency-key": "order-17"}
    mine = api_server.client.post("/v1/jobs", json=PROMPT, headers=headers)
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as other:
        theirs = other.client.post("/v1/jobs", json=PROMPT, headers=headers)
    assert theirs.status_code == 202
    assert theirs.json()["id"] != mine.json()["id"]


def test_a_key_whose_job_is_gone_is_told_so(api_server: ApiServer) -> None:
    headers = {"idempotency-key": "order-17"}
    job = api_server.client.post("/v1/jobs", json=PROMPT, headers=headers).json()
    api_server.world.client.delete(keys.job(job["id"]))
    problem(api_server.client.post("/v1/jobs", json=PROMPT, headers=headers), 410, "job_deleted")


# refusals -------------------------------------------------------------------------------------


def test_a_tenant_at_its_queue_limit_is_told_to_come_again(api_server: ApiServer) -> None:
    api_server.world.client.hset(keys.tenant(api_server.tenant), "max_queued", "2")
    api_server.create()
    api_server.create()
    answer = api_server.client.post("/v1/jobs", json=PROMPT)
    problem(answer, 429, "tenant_queue_full")
    assert int(answer.headers["retry-after"]) > 0


def test_a_full_queue_is_no_fault_of_the_tenant(empty_redis_url: str) -> None:
    with (
        served(settings(empty_redis_url, max_queue=1)) as url,
        tenant_at(url, empty_redis_url) as api_server,
    ):
        api_server.create()
        answer = api_server.client.post("/v1/jobs", json=PROMPT)
    problem(answer, 503, "queue_full")
    assert int(answer.headers["retry-after"]) > 0


#: What only a tenant may ask for that an operator allows it.
UNSAFE = {"input": {"prompt": "p", "disable_safety_checker": True}}


def test_a_tenant_without_the_right_cannot_switch_the_safety_checker_off(
    api_server: ApiServer,
) -> None:
    api_server.world.client.hset(keys.tenant(api_server.tenant), "may_disable_safety", "0")
    answer = api_server.client.post("/v1/jobs", json=UNSAFE)
    (fault,) = problem(answer, 422, "invalid_request")["errors"]
    assert fault["pointer"] == "/input/disable_safety_checker"
    assert "an operator allows it (`may_disable_safety`" in fault["message"]
    place = "/input/disable_safety_checker"
    assert pointers(api_server.client.post("/v1/jobs", json={**UNSAFE, "dry_run": True})) == {place}
    batch = {"jobs": [PROMPT, UNSAFE]}
    assert pointers(api_server.client.post("/v1/batches", json=batch)) == {f"/jobs/1{place}"}
    assert pointers(api_server.client.post("/v1/batches", json={**UNSAFE, "variations": 2})) == {
        place
    }
    lines = b"\n".join(map(orjson.dumps, (PROMPT, UNSAFE)))
    headers = {"content-type": "application/x-ndjson"}
    answer = api_server.client.post("/v1/batches", content=lines, headers=headers)
    assert [one.endswith(place) for one in pointers(answer)] == [True]
    answer = api_server.client.post(
        "/replicate/v1/predictions", json={"version": DEFAULT_MODEL, **UNSAFE}
    )
    assert (answer.status_code, "disable_safety_checker" in answer.text) == (422, True)


def test_what_was_accepted_without_the_safety_checker_is_run_again_only_while_that_is_allowed(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    job = api_server.client.post("/v1/jobs", json=UNSAFE).json()
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    whose = f"/ops/v1/tenants/{api_server.tenant}"
    operator.patch(whose, json={"may_disable_safety": False})
    # what a key may is remembered for seconds; this one was never seen
    with client_of(api_server.url, operator.post(f"{whose}/keys", json={}).json()["key"]) as client:
        for action in ("retry", "reproduce"):
            answer = client.post(f"/v1/jobs/{job['id']}/{action}")
            assert pointers(answer) == {"/input/disable_safety_checker"}
        assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"


# waiting --------------------------------------------------------------------------------------


def test_whoever_prefers_to_wait_gets_the_finished_job(api_server: ApiServer) -> None:
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(
            api_server.client.post, "/v1/jobs", json=PROMPT, headers={"prefer": "wait=20"}
        )
        wait_until(lambda: api_server.world.permits() > 0, "the job to be queued")
        api_server.succeed()
        answer = asked.result(10)
    assert answer.status_code == 200
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert answer.elapsed.total_seconds() < 15


def test_a_wait_that_is_over_gives_the_job_as_it_is(api_server: ApiServer) -> None:
    answer = api_server.client.post("/v1/jobs", json=PROMPT, headers={"prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer.elapsed.total_seconds() > 0.9


def test_a_replay_waits_like_the_first(api_server: ApiServer) -> None:
    headers = {"idempotency-key": "k", "prefer": "wait=5"}
    api_server.client.post("/v1/jobs", json=PROMPT, headers={"idempotency-key": "k"})
    api_server.succeed()
    answer = api_server.client.post("/v1/jobs", json=PROMPT, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.json()["status"] == "succeeded"


def test_a_held_read_comes_back_with_the_change(api_server: ApiServer) -> None:
    job = api_server.create()
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(
            api_server.client.get,
            f"/v1/jobs/{job['id']}?wait=20",
            headers={"if-none-match": 'W/"1"'},
        )
        api_server.world.claim()
        answer = asked.result(10)
    assert answer.status_code == 200
    assert answer.json()["status"] == "running"
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.elapsed.total_seconds() < 15


def test_a_held_read_without_news_says_that_nothing_changed(api_server: ApiServer) -> None:
    job = api_server.create()
    path = f"/v1/jobs/{job['id']}?wait=1"
    answer = api_server.client.get(path, headers={"if-none-match": 'W/"1"'})
    assert answer.status_code == 304
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.content == b""


def test_a_version_that_is_not_known_yet_is_given_at_once(api_server: ApiServer) -> None:
    job = api_server.create()
    path = f"/v1/jobs/{job['id']}?wait=20"
    answer = api_server.client.get(path, headers={"if-none-match": 'W/"0"'})
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() < 15


def test_a_final_job_is_not_held_without_a_version(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    answer = api_server.client.get(f"/v1/jobs/{job['id']}?wait=20")
    assert answer.json()["status"] == "succeeded"
    assert answer.elapsed.total_seconds() < 15


@pytest.mark.parametrize("known", ['W/"1"', '"1"', '"9", W/"1"', "*"])
def test_a_known_job_is_not_sent_again(api_server: ApiServer, known: str) -> None:
    job = api_server.create()
    answer = api_server.client.get(f"/v1/jobs/{job['id']}", headers={"if-none-match": known})
    assert answer.status_code == 304


# listing --------------------------------------------------------------------------------------


def test_lists_are_walked_by_cursor(api_server: ApiServer) -> None:
    made = [api_server.create()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = api_server.client.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    assert seen == sorted(seen, reverse=True)


def test_lists_are_filtered(api_server: ApiServer) -> None:
    first = api_server.create(tags=["blue"], metadata={"order.id": "A&17"})
    second = api_server.create(model="black-forest-labs/flux-2-klein-4b")
    api_server.client.post(f"/v1/jobs/{second['id']}/cancel")

    def listed(**query: str) -> list[str]:
        answer = api_server.client.get("/v1/jobs", params=query)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["data"]]

    assert listed(tag="blue") == [first["id"]]
    assert listed(**{"metadata.order.id": "A&17"}) == [first["id"]]
    assert listed(**{"metadata.order.id": "A&17", "q": "DAWN lighthouse"}) == [first["id"]]
    assert listed(q="lighthouse night") == listed(seed="123456789") == []
    assert listed(status="canceled") == [second["id"]]
    assert listed(model="black-forest-labs/flux-2-klein-4b") == [second["id"]]
    assert listed(created_before=first["created_at"]) == []
    assert listed(created_after="2020-01-01T00:00:00Z", status="queued") == [first["id"]]
    assert listed(error_code="internal") == []


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=x", "cursor=x", "status=done", "sort=asc"),
        *("error_code=oops", "seed=-1", "seed=9007199254740992", "seed=x", "q=", "q=%2D%2D"),
        *("q=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q+r+s+t+u", "metadata=x", "metadata.=x"),
        *("metadata.a=1&metadata.a=2", f"metadata.a={'x' * 513}", f"metadata.{'x' * 65}=1"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(api_server: ApiServer, query: str) -> None:
    name = query.partition("=")[0]
    assert pointers(api_server.client.get(f"/v1/jobs?{query}")) == {f"/query/{name}"}


def test_a_job_is_not_asked_for_by_query(api_server: ApiServer) -> None:
    answer = api_server.client.post(
        "/v1/jobs?dry_run=1", json={"input": {"prompt": "A lighthouse"}}
    )
    assert pointers(answer) == {"/query/dry_run"}
    assert api_server.client.get("/v1/jobs").json()["data"] == []


# canceling, and whose jobs these are ----------------------------------------------------------


def test_a_queued_job_is_canceled_at_once(api_server: ApiServer) -> None:
    job = api_server.create()
    answer = api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert answer.status_code == 200
    assert answer.json()["status"] == "canceled"
    again = api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert problem(again, 409, "job_final")["job_status"] == "canceled"
    assert api_server.world.try_claim() is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/{}"),
        ("GET", "/v1/jobs/{}/events"),
        ("GET", "/v1/jobs/{}/image"),
        ("POST", "/v1/jobs/{}/cancel"),
    ],
)
def test_a_job_of_another_is_not_there(api_server: ApiServer, method: str, path: str) -> None:
    job = api_server.create()
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as other:
        for job_id in (job["id"], ids.job_id(), "job_x", "x" * 500, "%00"):
            problem(other.client.request(method, path.format(job_id)), 404, "not_found")
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"


def test_wrong_keys_are_all_alike(api_server: ApiServer) -> None:
    key = api_server.credentials.api_key
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as other:
        stolen = key[:16] + other.credentials.api_key[16:]
    answers = []
    for written in (None, "", "Bearer", "Bearer x", f"Basic {key}", f"Bearer {key}x", stolen):
        headers = {"authorization": written} if written is not None else {}
        answers.append(httpx.get(f"{api_server.url}/v1/jobs", headers=headers))
    for answer in answers:
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    # no key (the first two) is told apart from a wrong one, and wrong ones are all alike
    assert {answer.json()["detail"].partition(".")[0] for answer in answers[:2]} == {
        "No API key was sent"
    }
    assert len({answer.json()["detail"] for answer in answers[2:]}) == 1


def test_an_operators_key_is_not_a_tenants(api_server: ApiServer) -> None:
    with client_of(api_server.url, api_server.credentials.ops_key) as operator:
        problem(operator.get("/v1/jobs"), 403, "forbidden")


def test_a_key_works_however_its_scheme_is_written(api_server: ApiServer) -> None:
    headers = {"authorization": f"bearer {api_server.credentials.api_key}"}
    assert httpx.get(f"{api_server.url}/v1/jobs", headers=headers).status_code == 200


# models ---------------------------------------------------------------------------------------


def test_models_tell_what_can_be_asked_for(api_server: ApiServer) -> None:
    models = api_server.client.get("/v1/models").json()["data"]
    assert models[0] == api_server.client.get(f"/v1/models/{DEFAULT_MODEL}").json()
    assert models[0]["id"] == DEFAULT_MODEL
    assert models[0]["defaults"]["output_quality"] == 80
    assert models[0]["input_schema"]["properties"]["seed"]
    problem(api_server.client.get("/v1/models/nobody/nothing"), 404, "not_found")


def test_a_removed_model_is_refused_at_every_door_until_a_call_of_it_goes_well(
    api_server: ApiServer,
) -> None:
    def state() -> str:
        return str(api_server.client.get(f"/v1/models/{DEFAULT_MODEL}").json()["state"])

    failed = api_server.create()["id"]
    held = api_server.world.call(api_server.world.claim())
    signal = transitions.Signal.model_removed(held.key)
    api_server.world.store.run(transitions.fail(held, ModelGone("Not any more."), signal=signal))
    job = {"input": {"prompt": "x"}}
    refused = problem(api_server.client.post("/v1/jobs", json=job), 422, "model_unavailable")
    assert DEFAULT_MODEL in refused["detail"]
    for path, body in (
        ("/v1/batches", {"jobs": [job]}),
        (f"/v1/jobs/{failed}/retry", {}),
        (f"/v1/jobs/{failed}/reproduce", {}),
    ):
        problem(api_server.client.post(path, json=body), 422, "model_unavailable")
    forecast = api_server.client.post("/v1/jobs", json={**job, "dry_run": True}).json()
    assert forecast["refusal"]["code"] == "model_unavailable"
    wait_until(lambda: state() == "removed", "the model to be marked")

    for field in (f"gone:{DEFAULT_MODEL}", f"unoffered:{held.key.id}:{DEFAULT_MODEL}"):
        api_server.world.client.hset(keys.gate(), field, 1)  # a minute later
    api_server.create()
    api_server.succeed()
    wait_until(lambda: state() == "available", "the model to be taken back")
