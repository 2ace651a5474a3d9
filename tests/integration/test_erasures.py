"""Many jobs deleted at once: counted, confirmed, carried out by a worker, and nothing left."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from shared.store import erasures, job_queries, keys
from shared.store.erasures import keys_of_tenant
from tests.support.api_server import PROMPT, ApiServer, problem, served, settings, tenant_at
from tests.support.history import HistoryWorld
from tests.support.models import OTHER_MODEL
from worker.eraser import Eraser

WEBHOOK = {"url": "https://hooks.example/secret-path", "events": ["job.canceled"]}


@dataclass
class Here:
    """A served API with a history, two tenants, and the threads of a worker."""

    api: ApiServer
    other: ApiServer
    history: HistoryWorld

    def finish(self, server: ApiServer, **body: Any) -> str:
        job_id = str(server.create(**body)["id"])
        server.client.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
        return job_id

    def erase(self) -> None:
        world = self.history.world
        for name in world.client.zrange(keys.erasures(), 0, -1):
            world.client.zadd(keys.erasures(), {str(name): 1})
        eraser = Eraser(world.store, self.history.reader, world.store.now_ms)
        while eraser.erase():
            pass

    def operate(self, method: str, path: str, **sent: Any) -> Any:
        headers = {"authorization": f"Bearer {self.api.credentials.ops_key}"}
        return self.api.client.request(method, path, headers=headers, **sent)


@pytest.fixture
def here(empty_redis_url: str, history_url: str) -> Iterator[Here]:
    chosen = settings(empty_redis_url, history_url=history_url)
    with (
        served(chosen) as url,
        tenant_at(url, empty_redis_url, history_url=history_url) as api,
        tenant_at(url, empty_redis_url, history_url=history_url) as other,
    ):
        history = HistoryWorld(empty_redis_url, history_url)
        yield Here(api, other, history)
        history.close()


def test_jobs_are_counted_confirmed_and_deleted_wherever_they_are(here: Here) -> None:
    archived = [here.finish(here.api, tags=["old"]) for _ in range(3)]
    here.history.archive()
    live = [here.finish(here.api, tags=["old"]) for _ in range(2)]
    kept = here.finish(here.api, tags=["new"])
    queued = here.api.create(tags=["old"])["id"]
    others = here.finish(here.other, tags=["old"])

    counted = here.api.client.post(
        "/v1/jobs/delete", json={"filter": {"tag": "old"}, "dry_run": True}
    )
    assert counted.json() == {"count": 5, "more": False}
    asked = {"filter": {"tag": "old"}, "expected_count": 5}
    answer = here.api.client.post("/v1/jobs/delete", json=asked)
    assert answer.status_code == 202
    erasure = answer.json()
    assert (erasure["status"], erasure["count"], erasure["deleted"]) == ("running", 5, 0)
    later = here.finish(here.api, tags=["old"])

    here.erase()

    done = here.api.client.get(answer.headers["location"]).json()
    assert (done["status"], done["deleted"]) == ("done", 5)
    for job_id in (*archived, *live):
        assert here.api.client.get(f"/v1/jobs/{job_id}").status_code == 404
    listed = {job["id"] for job in here.api.client.get("/v1/jobs").json()["data"]}
    assert listed == {kept, queued, later}
    assert here.other.client.get(f"/v1/jobs/{others}").status_code == 200
    assert here.other.client.get(f"/v1/erasures/{erasure['id']}").status_code == 404
    here.history.archive()
    assert [one for one in archived if here.history.is_archived(one)] == []


def test_jobs_are_deleted_by_metadata_seed_and_words(here: Here) -> None:
    same: dict[str, Any] = {"input": {"prompt": "Blue STRASSE", "seed": 0}}
    archived = here.finish(here.api, metadata={"order": "1"}, **same)
    here.history.archive()
    live = here.finish(here.api, metadata={"order": "1", "shop": "n"}, **same)
    kept = [here.finish(here.api, metadata={"order": "2"}, **same), here.finish(here.api)]
    wanted = {"metadata": {"order": "1"}, "seed": 0, "q": "straße blue"}
    body = {"filter": wanted, "expected_count": 2}
    location = here.api.client.post("/v1/jobs/delete", json=body).headers["location"]

    here.erase()

    assert here.api.client.get(location).json()["deleted"] == 2
    for job_id in (archived, live):
        assert here.api.client.get(f"/v1/jobs/{job_id}").status_code == 404
    listed = [job["id"] for job in here.api.client.get("/v1/jobs").json()["data"]]
    assert listed == kept[::-1]


def test_jobs_are_deleted_by_the_model_that_served_them(here: Here) -> None:
    def serve(**body: Any) -> str:
        job_id = str(here.api.create(**body)["id"])
        here.history.world.finish(here.history.world.claim())
        return job_id

    serve(model=OTHER_MODEL)
    canceled = here.finish(here.api, model=OTHER_MODEL)
    here.history.archive()
    serve(model=OTHER_MODEL)
    kept = serve()
    body = {"filter": {"served_model": OTHER_MODEL}, "expected_count": 2}
    here.api.client.post("/v1/jobs/delete", json=body).raise_for_status()

    here.erase()

    listed = [job["id"] for job in here.api.client.get("/v1/jobs").json()["data"]]
    assert listed == [kept, canceled]


@pytest.mark.parametrize("wrong", [{"q": ""}, {"q": "?!"}, {"metadata": {}}, {"seed": -1}])
def test_an_empty_search_deletes_nothing(here: Here, wrong: dict[str, Any]) -> None:
    answer = here.api.client.post("/v1/jobs/delete", json={"filter": wrong, "dry_run": True})
    (fault,) = problem(answer, 422, "invalid_request")["errors"]
    assert fault["pointer"] == f"/filter/{next(iter(wrong))}"


@pytest.mark.parametrize("name", ["batch_id", "model", "tenant"])
def test_a_filter_with_control_characters_is_refused(here: Here, name: str) -> None:
    body = {"filter": {name: "a\x00"}, "dry_run": True}
    answers = [here.operate("POST", "/ops/v1/jobs/delete", json=body)]
    if name != "tenant":
        answers.append(here.api.client.post("/v1/jobs/delete", json=body))
    for answer in answers:
        (fault,) = problem(answer, 422, "invalid_request")["errors"]
        assert fault["pointer"] == f"/filter/{name}"
        assert fault["message"] == "must not have control characters"


def test_what_was_not_counted_is_not_deleted(here: Here) -> None:
    here.finish(here.api)
    here.finish(here.api)
    wrong = here.api.client.post("/v1/jobs/delete", json={"filter": {}, "expected_count": 1})
    assert problem(wrong, 409, "count_changed")["count"] == 2
    missing = here.api.client.post("/v1/jobs/delete", json={"filter": {"status": "queued"}})
    found = problem(missing, 422, "invalid_request")["errors"]
    assert [fault["pointer"] for fault in found] == ["/expected_count", "/filter/status"]
    both = {"filter": {}, "dry_run": True, "expected_count": 2}
    found = problem(here.api.client.post("/v1/jobs/delete", json=both), 422, "invalid_request")
    assert [fault["pointer"] for fault in found["errors"]] == ["/expected_count"]
    unknown = here.api.client.post("/v1/jobs/delete", json={"filter": {"taag": "x"}})
    problem(unknown, 422, "invalid_request")
    assert here.history.world.client.zcard(keys.erasures()) == 0


def test_fewer_jobs_than_were_counted_are_deleted_and_none_ends_at_once(here: Here) -> None:
    job_id = here.finish(here.api)
    fewer = here.api.client.post("/v1/jobs/delete", json={"filter": {}, "expected_count": 2})
    assert (fewer.status_code, fewer.json()["count"]) == (202, 1)
    nothing = {"filter": {"tag": "none"}, "expected_count": 2}
    ended = here.api.client.post("/v1/jobs/delete", json=nothing).json()
    assert (ended["status"], ended["count"], ended["deleted"]) == ("done", 0, 0)
    assert here.history.world.client.zcard(keys.erasures()) == 1
    here.erase()
    assert here.api.client.get(f"/v1/jobs/{job_id}").status_code == 404


def test_an_erasure_goes_on_where_another_process_stopped(here: Here) -> None:
    jobs = [here.finish(here.api) for _ in range(4)]
    here.history.archive()
    asked = {"filter": {}, "expected_count": 4}
    location = here.api.client.post("/v1/jobs/delete", json=asked).headers["location"]
    world = here.history.world
    first = world.store.run(erasures.next_erasure(lease_seconds=60))
    assert first is not None
    assert world.store.run(erasures.next_erasure(lease_seconds=60)) is None
    here.api.client.delete(f"/v1/jobs/{jobs[0]}").raise_for_status()

    here.erase()
    here.erase()

    done = here.api.client.get(location).json()
    assert (done["status"], done["deleted"]) == ("done", 3)
    assert here.api.client.get("/v1/jobs").json()["data"] == []


def test_an_operator_deletes_jobs_of_all_tenants(here: Here) -> None:
    mine, theirs = here.finish(here.api), here.finish(here.other)
    here.history.archive()
    body = {"filter": {"status": "canceled"}, "dry_run": True}
    assert here.operate("POST", "/ops/v1/jobs/delete", json=body).json()["count"] == 2
    body = {"filter": {"status": "canceled"}, "expected_count": 2}
    answer = here.operate("POST", "/ops/v1/jobs/delete", json=body)
    here.erase()

    assert here.operate("GET", answer.headers["location"]).json()["deleted"] == 2
    assert here.api.client.get(f"/v1/jobs/{mine}").status_code == 404
    assert here.other.client.get(f"/v1/jobs/{theirs}").status_code == 404
    audit = here.operate("GET", "/ops/v1/audit").json()["data"][0]
    assert (audit["action"], audit["target"]) == ("jobs.delete", "*")


@pytest.mark.parametrize("is_known", [True, False])
def test_an_operator_deletes_the_jobs_of_a_batch_and_no_others(here: Here, is_known: bool) -> None:  # noqa: FBT001  a case
    batch_id = "batch_unknown"
    if is_known:
        batch = {"jobs": [PROMPT] * 2}
        batch_id = here.api.client.post("/v1/batches", json=batch).raise_for_status().json()["id"]
        here.history.world.advance_batch(batch_id)
        here.api.client.post(f"/v1/batches/{batch_id}/cancel").raise_for_status()
        here.history.world.advance_batch(batch_id)
    kept = {here.finish(here.other), here.finish(here.api)}
    body = {"filter": {"batch_id": batch_id}, "dry_run": True}
    count = here.operate("POST", "/ops/v1/jobs/delete", json=body).json()["count"]
    assert count == (2 if is_known else 0)
    body = {"filter": {"batch_id": batch_id}, "expected_count": count}
    answer = here.operate("POST", "/ops/v1/jobs/delete", json=body)

    here.erase()

    assert here.operate("GET", answer.headers["location"]).json()["deleted"] == count
    left = here.operate("GET", "/ops/v1/jobs").json()["data"]
    assert {job["id"] for job in left} == kept


def test_of_a_deleted_tenant_nothing_is_left(here: Here) -> None:
    tenant, world = here.api.tenant, here.history.world
    here.finish(here.api, webhook=WEBHOOK, tags=["t"])
    here.history.archive()
    here.finish(here.api, tags=["t"])
    here.api.create()
    batch = {"jobs": [{"input": {"prompt": "Private prompt"}}] * 3}
    here.api.client.post("/v1/batches", json=batch).raise_for_status()
    here.api.client.post("/v1/jobs", json=PROMPT, headers={"Idempotency-Key": "k"})
    kept = here.finish(here.other, tags=["t"])

    answer = here.operate("DELETE", f"/ops/v1/tenants/{tenant}")
    assert answer.status_code == 202, answer.text
    here.erase()

    assert here.operate("GET", answer.headers["location"]).json()["status"] == "done"
    problem(here.operate("GET", f"/ops/v1/tenants/{tenant}"), 404, "not_found")
    problem(here.operate("DELETE", f"/ops/v1/tenants/{tenant}"), 404, "not_found")
    here.history.archive()
    left = {str(name) for name in world.client.scan_iter("*")}
    assert [name for name in left if keys_of_tenant(tenant).fullmatch(name)] == []
    assert {name.split(":")[1] for name in left if tenant in name} <= {
        *("usage", "run_counts", "tenant"),
    }
    with here.history.database.reading() as connection:
        for table in ("jobs", "batches", "deliveries", "job_terms"):
            found = connection.exec_driver_sql(f"SELECT tenant FROM {table}")  # noqa: S608
            assert tenant not in {row[0] for row in found}
    assert here.other.client.get(f"/v1/jobs/{kept}").status_code == 200
    facts = world.store.run(job_queries.service_stats())
    assert (facts.depth["generate"], facts.in_flight["generate"]) == (0, 0)


def test_nothing_is_written_for_a_tenant_that_is_being_deleted(here: Here) -> None:
    path = f"/ops/v1/tenants/{here.api.tenant}"
    begun = here.operate("DELETE", path).json()

    for method, below, body in (
        ("POST", f"{path}/keys", {}),
        ("PATCH", path, {"weight": 2}),
        ("POST", "/ops/v1/tenants", {"name": here.api.tenant}),
    ):
        detail = problem(here.operate(method, below, json=body), 409, "tenant_deleting")["detail"]
        assert detail == (
            f"The tenant {here.api.tenant} is being deleted; try again when it is done."
        )
    assert here.operate("GET", path).json()["deleting"] is True
    assert here.operate("GET", f"{path}/keys").json()["data"] == []
    assert here.operate("DELETE", path).json()["id"] == begun["id"]

    here.erase()

    made = here.operate("POST", "/ops/v1/tenants", json={"name": here.api.tenant})
    assert (made.status_code, made.json()["deleting"]) == (201, False)
    key = here.operate("POST", f"{path}/keys", json={}).raise_for_status().json()["key"]
    answer = here.api.client.post(
        "/v1/jobs", json=PROMPT, headers={"authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 202
    assert here.history.world.client.ttl(keys.tenant(here.api.tenant)) == -1


@pytest.mark.parametrize("is_recreated", [False, True])
def test_a_batch_whose_upload_outlives_its_tenant_is_refused(
    here: Here,
    is_recreated: bool,  # noqa: FBT001  a case
) -> None:
    path = f"/ops/v1/tenants/{here.api.tenant}"
    started, is_deleted = threading.Event(), threading.Event()
    line = orjson.dumps(PROMPT) + b"\n"

    def body() -> Iterator[bytes]:
        yield line
        started.set()
        is_deleted.wait(20)
        yield line

    headers = {"content-type": "application/x-ndjson"}
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(here.api.client.post, "/v1/batches", content=body(), headers=headers)
        assert started.wait(10)
        here.operate("DELETE", path).raise_for_status()
        here.erase()
        if is_recreated:
            body_of_new = {"name": here.api.tenant}
            here.operate("POST", "/ops/v1/tenants", json=body_of_new).raise_for_status()
        is_deleted.set()

    problem(sent.result(), 401, "unauthenticated")
    assert not here.history.world.client.exists(keys.tenant_jobs(here.api.tenant))


def test_a_tenant_named_key_does_not_own_what_api_keys_have_used() -> None:
    own, of_a_key = (keys.month_usage(payer, 20_000) for payer in ("key", "key:0123456789ab"))
    pattern = keys_of_tenant("key")
    assert pattern.fullmatch(own)
    assert not pattern.fullmatch(of_a_key)
