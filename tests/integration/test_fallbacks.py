"""A job that names fallback models, over HTTP and through a real worker and provider."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from shared.store.functions import CIRCUIT_FAILURES
from tests.integration.conftest import Open, both_ways
from tests.integration.sandbox_client import Client
from tests.integration.test_wrong_answers import counted
from tests.support.api_server import (
    ApiServer,
    client_of,
    pointers,
    problem,
    served,
    settings,
    tenant_at,
)
from tests.support.models import KLEIN, KLEINS, OTHER_MODEL
from tests.support.worker_harness import WorkerHarness
from worker.generate import do_next_jobs

PROMPT_ONLY = "gemini-2.5-flash-image"
PRICES = f"{DEFAULT_MODEL}=1,{OTHER_MODEL}=2.5,{PROMPT_ONLY}=4"
BODY: dict[str, Any] = {
    "input": {"prompt": "A lighthouse at dawn", "aspect_ratio": "16:9", "megapixels": "0.25"},
    "fallback_models": [OTHER_MODEL],
}


@both_ways
def url(redis_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    chosen = settings(redis_url, credits_per_image=PRICES)
    with served(chosen, has_fast_route=request.param) as url:
        yield url


@pytest.fixture
def api_server(url: str, empty_redis_url: str) -> Iterator[ApiServer]:
    with tenant_at(url, empty_redis_url, tenant="acme") as api_server:
        yield api_server


@pytest.fixture
def harness(open_harness: Open) -> WorkerHarness:
    return open_harness(credits_per_image=PRICES, fallback_after_seconds=0)


def used(api_server: ApiServer) -> dict[str, tuple[int, int, float]]:
    """Return jobs, calls and credits of the tenant by model."""
    report = api_server.client.get("/v1/usage", params={"group_by": "model"}).json()
    return {row["model"]: (row["jobs"], row["calls"], row["credits"]) for row in report["data"]}


def paid(provider: Client) -> list[str]:
    return [call["model"] for call in provider.calls() if call["paid"]]


def test_a_removed_model_is_replaced_and_all_that_is_counted_follows(
    api_server: ApiServer, harness: WorkerHarness, provider: Client
) -> None:
    before = counted("fallback_jobs", model=DEFAULT_MODEL)
    provider.models(removed=[DEFAULT_MODEL])
    created = api_server.client.post("/v1/jobs", json=BODY).json()
    assert (created["model"], created["served_model"]) == (DEFAULT_MODEL, None)

    harness.finish(created["id"])

    job = api_server.client.get(f"/v1/jobs/{created['id']}").json()
    assert (job["status"], job["model"], job["served_model"]) == (
        "succeeded",
        DEFAULT_MODEL,
        OTHER_MODEL,
    )
    assert job["fallback_models"] == [OTHER_MODEL]
    assert job["input"] == created["input"]
    assert (job["image"]["warnings"], job["provider"]["calls"]) == ([], 2)
    assert paid(provider) == [OTHER_MODEL]
    assert used(api_server) == {OTHER_MODEL: (1, 1, 2.5)}
    for by in ({"model": DEFAULT_MODEL}, {"served_model": OTHER_MODEL}):
        listed = api_server.client.get("/v1/jobs", params=by).json()["data"]
        assert [one["id"] for one in listed] == [job["id"]]
    assert counted("fallback_jobs", model=DEFAULT_MODEL) == before + 1


def test_jobs_of_a_model_that_fails_are_served_by_another_and_paid_once(
    api_server: ApiServer, harness: WorkerHarness, provider: Client
) -> None:
    failing: dict[str, object] = {
        "default": {"fault": "status", "status": 503},
        "model": DEFAULT_MODEL,
    }
    provider.limit(failing)
    jobs = [api_server.create(**BODY)["id"] for _ in range(CIRCUIT_FAILURES + 1)]

    for _ in range(CIRCUIT_FAILURES):
        do_next_jobs(harness.context)
    for job_id in jobs:
        harness.finish(job_id)

    shown = [api_server.client.get(f"/v1/jobs/{job_id}").json() for job_id in jobs]
    assert [job["status"] for job in shown] == ["succeeded"] * len(jobs)
    assert {job["served_model"] for job in shown} == {OTHER_MODEL}
    assert {job["provider"]["unknown_outcomes"] for job in shown} == {0}
    assert paid(provider) == [OTHER_MODEL] * len(jobs)
    assert used(api_server) == {OTHER_MODEL: (len(jobs), len(jobs), 2.5 * len(jobs))}


def test_every_fault_of_the_fallbacks_is_named_with_the_model(api_server: ApiServer) -> None:
    body = {**BODY, "fallback_models": [DEFAULT_MODEL, OTHER_MODEL, PROMPT_ONLY]}
    answer = api_server.client.post("/v1/jobs", json=body)
    assert {
        one["pointer"]: one["message"] for one in problem(answer, 422, "invalid_request")["errors"]
    } == {
        "/fallback_models/0": "must be another model than `model`",
        "/input/aspect_ratio": f"is unknown (fallback model {PROMPT_ONLY})",
        "/input/megapixels": f"is unknown (fallback model {PROMPT_ONLY})",
    }


def test_the_faults_of_a_fallback_are_named_beside_those_of_the_body(
    api_server: ApiServer,
) -> None:
    wrong = {"fallback_models": [PROMPT_ONLY, "acme/none"], "priority": "urgent"}
    answer = api_server.client.post("/v1/jobs", json={**BODY, **wrong})
    assert pointers(answer) == {
        "/fallback_models/1",
        "/priority",
        "/input/aspect_ratio",
        "/input/megapixels",
    }


@pytest.mark.parametrize(
    ("fallbacks", "pointer", "message"),
    [
        ("other", "/fallback_models", "must be one of: default"),
        (7, "/fallback_models", "must be a list"),
        ([7], "/fallback_models/0", "must be text"),
        ([OTHER_MODEL, OTHER_MODEL], "/fallback_models", "must not have duplicates"),
        (KLEINS * 2, "/fallback_models", "must have at most 3 entries"),
    ],
)
def test_what_is_no_list_of_models_is_refused(
    api_server: ApiServer, fallbacks: object, pointer: str, message: str
) -> None:
    answer = api_server.client.post("/v1/jobs", json={**BODY, "fallback_models": fallbacks})
    errors = problem(answer, 422, "invalid_request")["errors"]
    assert {"pointer": pointer, "message": message} in errors


def test_a_model_that_is_not_offered_is_no_fallback(api_server: ApiServer) -> None:
    answer = api_server.client.post("/v1/jobs", json={**BODY, "fallback_models": ["acme/none"]})
    assert pointers(answer) == {"/fallback_models/0"}


def test_a_tenant_gets_no_model_by_a_fallback_that_it_may_not_use(api_server: ApiServer) -> None:
    # given: a job from before the limit, which no worker takes
    old = api_server.create(**BODY)["id"]
    client = api_server.client
    with client_of(api_server.url, api_server.credentials.ops_key) as operator:
        tenant = f"/ops/v1/tenants/{api_server.tenant}"
        operator.patch(tenant, json={"models": [DEFAULT_MODEL]}).raise_for_status()
    shown = f"/v1/models/{OTHER_MODEL}"
    wait_until(lambda: client.get(shown).status_code == 404, "the limit")
    # then
    batch = {**BODY, "variations": 2}
    refused = {
        "/fallback_models/0": [client.post("/v1/jobs", json=BODY)],
        "/fallback_models": [
            client.post("/v1/jobs", json={**BODY, "fallback_models": "default"}),
            client.post("/v1/jobs", json={**BODY, "fallback_models": "default", "dry_run": True}),
        ],
        "/jobs/0/fallback_models/0": [client.post("/v1/batches", json={"jobs": [BODY]})],
    }
    refused["/fallback_models/0"].append(client.post("/v1/batches", json=batch))
    for pointer, answers in refused.items():
        assert [pointers(answer) for answer in answers] == [{pointer}] * len(answers)
    assert client.post(f"/v1/jobs/{old}/cancel").status_code == 200
    assert pointers(client.post(f"/v1/jobs/{old}/retry")) == {"/model"}


def test_default_stands_for_the_fallbacks_of_the_catalog(api_server: ApiServer) -> None:
    shown = api_server.client.get(f"/v1/models/{DEFAULT_MODEL}").json()
    assert shown["fallbacks"] == list(KLEIN.fallbacks)
    job = api_server.create(**{**BODY, "fallback_models": "default"})
    assert job["fallback_models"] == list(KLEIN.fallbacks)
    lone = {"model": PROMPT_ONLY, "input": {"prompt": "A pier"}, "fallback_models": "default"}
    assert pointers(api_server.client.post("/v1/jobs", json=lone)) == {"/fallback_models"}


def test_a_new_job_shows_the_input_of_the_model_that_serves_it(
    api_server: ApiServer, harness: WorkerHarness
) -> None:
    harness.world.client.hset("{dr}:gate", f"paused:model:{DEFAULT_MODEL}", 1)
    body = {"input": {"prompt": "A pier", "seed": 7}, "fallback_models": [OTHER_MODEL]}
    job = api_server.create(**body)
    assert api_server.client.get(f"/v1/jobs/{job['id']}").json() == job
    assert (job["waiting_on"], job["input"]["seed"]) == ("queue", 7)

    made = harness.finish(job["id"])
    again = api_server.client.post(f"/v1/jobs/{made.id}/reproduce").json()
    assert (again["model"], again["fallback_models"]) == (OTHER_MODEL, [])
    assert again["input"] == dict(made.spec.input)


def test_variations_have_the_same_seeds_with_a_fallback(
    api_server: ApiServer, harness: WorkerHarness
) -> None:
    harness.world.client.hset("{dr}:gate", f"paused:model:{DEFAULT_MODEL}", 1)
    body = {**BODY, "input": {"prompt": "A pier", "seed": 7}, "variations": 3}
    batch = api_server.client.post("/v1/batches", json=body).json()
    page = api_server.client.get("/v1/jobs", params={"batch_id": batch["id"]}).json()["data"]
    assert sorted(job["input"]["seed"] for job in page) == [7, 8, 9]
    assert {harness.job(job["id"]).model for job in page} == {OTHER_MODEL}
    wrong = {**body, "fallback_models": [PROMPT_ONLY]}
    assert pointers(api_server.client.post("/v1/batches", json=wrong)) == {"/input/seed"}


def test_an_image_of_a_fallback_is_not_reused_as_one_of_the_requested_model(
    api_server: ApiServer, harness: WorkerHarness, provider: Client
) -> None:
    provider.models(removed=[DEFAULT_MODEL])
    body = {**BODY, "input": {**BODY["input"], "seed": 7}, "reuse": True}
    harness.finish(api_server.create(**body)["id"])
    provider.models()
    harness.world.client.delete("{dr}:gate")

    asked_again = api_server.client.post("/v1/jobs", json={**body, "dry_run": True}).json()
    other = {**body, "model": OTHER_MODEL, "fallback_models": [], "dry_run": True}
    asked_directly = api_server.client.post("/v1/jobs", json=other).json()

    assert asked_again["reused_from"] is None
    assert asked_directly["reused_from"] is not None
