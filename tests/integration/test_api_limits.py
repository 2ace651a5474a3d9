"""Limits over HTTP: shown before anything is accepted, with when to ask again."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from sandbox.wait import wait_until
from shared.api_keys import Key, parse_key
from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from tests.contract.test_admission import everything, may
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
from tests.support.models import KLEINS

CLIENTS = 64
FAR = 10**15


@both_ways
def url(redis_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    chosen = settings(redis_url, credits_per_image=f"{DEFAULT_MODEL}=1.5")
    with served(chosen, has_fast_route=request.param) as url:
        yield url


def burst(api_server: ApiServer, each: int) -> list[httpx.Response]:
    """Ask from 64 clients at once, each so often."""

    def ask(_: int) -> list[httpx.Response]:
        return [api_server.client.post("/v1/jobs", json=PROMPT) for _ in range(each)]

    with ThreadPoolExecutor(CLIENTS) as threads:
        return [answer for some in threads.map(ask, range(CLIENTS)) for answer in some]


def limit(api_server: ApiServer, **limits: float | str) -> None:
    may(api_server.world, api_server.tenant, **limits)


def _parsed(text: str) -> Key:
    key = parse_key(text)
    assert key is not None
    return key


@contextmanager
def nothing_written(api_server: ApiServer) -> Iterator[None]:
    before = _kept(api_server)
    yield
    assert _kept(api_server) == before


def _kept(api_server: ApiServer) -> dict[str, bytes | None]:
    """Return all that is kept, but for what a API notes a little later.

    That is when a key was used, and at its first look the version of the data, the secret of the
    image URLs and the prices.
    """
    found = everything(api_server.world)
    later = (keys.api_key(""), keys.schema(), keys.signing_key(), keys.prices())
    return {key: value for key, value in found.items() if not key.startswith(later)}


def refused(answer: httpx.Response) -> list[str]:
    errors = problem(answer, 422, "invalid_request")["errors"]
    return [f"{fault['pointer']} {fault['message']}" for fault in errors]


def create(api_server: ApiServer, **body: object) -> httpx.Response:
    return api_server.client.post("/v1/jobs", json={**PROMPT, **body})


def test_a_tenant_limited_to_a_model_uses_no_other(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    first, second, *_ = KLEINS
    job = create(api_server, model=second).json()
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel")

    shown = operator.patch(
        f"/ops/v1/tenants/{api_server.tenant}", json={"models": [first, first]}
    ).json()

    assert shown["models"] == [first]
    wait_until(lambda: create(api_server, model=second).status_code == 422, "the limit")
    message = f"/model is not allowed for your tenant or API key; allowed models: {first}"
    assert refused(create(api_server, model=second)) == [message]
    assert create(api_server).status_code == 202
    for action in ("retry", "reproduce"):
        assert refused(api_server.client.post(f"/v1/jobs/{job['id']}/{action}")) == [message]
    batch = {"jobs": [PROMPT, {**PROMPT, "model": second}]}
    in_batch = message.replace("/model", "/jobs/1/model")
    assert refused(api_server.client.post("/v1/batches", json=batch)) == [in_batch]
    images = {"model": second, "prompt": "A pier"}
    dialect = api_server.client.post("/openai/v1/images/generations", json=images)
    assert (dialect.status_code, dialect.json()["error"]["param"]) == (400, "model")
    assert api_server.client.get("/v1/usage").json()["limits"]["models"] == [first]


def test_the_audit_has_the_limits_of_a_new_key_and_of_its_replacement(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    limits = {"models": list(KLEINS[:2]), "monthly_credits": 5}
    tenant = f"/ops/v1/tenants/{api_server.tenant}"
    key = operator.post(f"{tenant}/keys", json=limits).json()
    operator.post(f"{tenant}/keys/{key['id']}/rotate").raise_for_status()
    entries = operator.get("/ops/v1/audit?limit=2").json()["data"]
    assert [one["action"] for one in entries] == ["key.rotate", "key.create"]
    for entry in entries:
        assert limits.items() <= entry["detail"].items()


def test_lists_of_models_have_only_those_that_the_tenant_and_the_key_may_use(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    first, second, *_ = KLEINS
    client = api_server.client
    assert client.get(f"/v1/models/{second}").status_code == 200

    operator.patch(f"/ops/v1/tenants/{api_server.tenant}", json={"models": [first]})

    wait_until(lambda: client.get(f"/v1/models/{second}").status_code == 404, "the limit")
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [first]
    assert client.get(f"/v1/models/{first}").status_code == 200
    assert [one["id"] for one in client.get("/openai/v1/models").json()["data"]] == [first]
    assert client.get(f"/openai/v1/models/{second}").status_code == 404
    listed = client.get("/replicate/v1/models").json()["results"]
    assert [f"{one['owner']}/{one['name']}" for one in listed] == [first]
    assert client.get(f"/replicate/v1/models/{second}").status_code == 404


def test_what_a_tenant_and_its_key_may_both_use_is_allowed(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    first, second, *_ = KLEINS
    tenant = f"/ops/v1/tenants/{api_server.tenant}"
    key_id = _parsed(api_server.credentials.api_key).id
    operator.patch(tenant, json={"models": [first]})

    key = operator.patch(f"{tenant}/keys/{key_id}", json={"models": [second]}).json()

    assert key["models"] == [second]
    wait_until(lambda: create(api_server).status_code == 422, "the limit of the key")
    none = "/model is not allowed for your tenant or API key; no model is allowed"
    wait_until(lambda: refused(create(api_server)) == [none], "both limits")
    successor = operator.post(f"{tenant}/keys/{key_id}/rotate", json={}).json()
    assert successor["models"] == [second]
    operator.patch(tenant, json={"models": None})
    wait_until(lambda: create(api_server, model=second).status_code == 202, "one limit")
    for wrong in ([], ["no-such-model"]):
        answer = operator.patch(tenant, json={"models": wrong})
        assert pointers(answer) <= {"/models", "/models/0"}


def test_of_64_clients_at_once_exactly_the_limit_is_let_through(api_server: ApiServer) -> None:
    limit(api_server, requests_per_minute=100)
    answers = burst(api_server, 3)
    assert Counter(answer.status_code for answer in answers) == {202: 100, 429: 92}
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"requests";q=100;w=60'
        if answer.status_code == 429:
            problem(answer, 429, "rate_limited")
            wait = int(answer.headers["retry-after"])
            assert 1 <= wait <= 60
            assert answer.headers["ratelimit"] == f'"requests";r=0;t={wait}'
    assert api_server.world.client.zcard(keys.tenant_jobs(api_server.tenant)) == 100


def test_of_64_clients_at_once_exactly_the_queue_is_filled(api_server: ApiServer) -> None:
    limit(api_server, max_queued=50)
    answers = burst(api_server, 1)
    assert Counter(answer.status_code for answer in answers) == {202: 50, 429: 14}
    assert {a.headers["retry-after"] for a in answers if a.status_code == 429} == {"5"}


def test_of_64_clients_at_once_exactly_the_budget_is_promised(api_server: ApiServer) -> None:
    limit(api_server, daily_credits=60)
    answers = burst(api_server, 1)
    assert Counter(answer.status_code for answer in answers) == {202: 40, 429: 24}
    refused = next(answer for answer in answers if answer.status_code == 429)
    detail = problem(refused, 429, "credits_spent")
    assert detail["budget"]["promised"] == detail["budget"]["limit"] == 60
    wait = refused.headers["retry-after"]
    assert refused.headers["ratelimit-policy"] == '"credits";q=60;w=86400'
    assert refused.headers["ratelimit"] == f'"credits";r=0;t={wait}'
    assert 1 <= int(wait) <= 86_400


def test_a_key_is_refused_by_its_own_limits_which_an_operator_changes_at_once(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    keys_of = f"/ops/v1/tenants/{api_server.tenant}/keys"
    made = operator.post(keys_of, json={"monthly_credits": 4, "requests_per_minute": 2}).json()
    assert (made["monthly_credits"], made["requests_per_minute"]) == (4, 2)
    headers = {"authorization": f"Bearer {made['key']}"}

    def ask() -> httpx.Response:
        return api_server.client.post("/v1/jobs", json=PROMPT, headers=headers)

    assert [ask().headers["ratelimit"][:16] for _ in range(2)] == [
        '"requests";r=1;t',
        '"requests";r=0;t',
    ]
    refused = ask()
    assert "The API key may send 2 requests" in problem(refused, 429, "rate_limited")["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60

    path = f"{keys_of}/{made['id']}"
    changed = operator.patch(path, json={"requests_per_minute": None}).json()
    assert (changed["monthly_credits"], changed["requests_per_minute"]) == (4, None)
    refused = ask()
    shown = problem(refused, 429, "credits_spent")
    assert "of the 4 credits that the API key may spend in a month" in shown["detail"]
    budget = shown["budget"]
    assert (budget["scope"], budget["period"], budget["promised"]) == ("key", "month", 3)
    assert budget["resets_at"] in shown["detail"]
    assert refused.headers["ratelimit-policy"] == '"credits";q=4;w=2678400'
    usage = api_server.client.get("/v1/usage", headers=headers).json()
    listed = operator.get(keys_of).json()["data"]
    assert [one["budgets"] for one in listed if one["id"] == made["id"]] == [usage["budgets"]]
    assert usage["budgets"] == [budget]
    assert api_server.client.post("/v1/jobs", json=PROMPT).status_code == 202


def test_a_key_with_a_limit_of_0_is_told_that_it_may_send_none(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    keys_of = f"/ops/v1/tenants/{api_server.tenant}/keys"
    key = operator.post(keys_of, json={"requests_per_minute": 0}).json()["key"]
    refused = api_server.client.post(
        "/v1/jobs", json=PROMPT, headers={"authorization": f"Bearer {key}"}
    )
    assert "may send no requests" in problem(refused, 429, "rate_limited")["detail"]


def test_limits_of_a_key_are_checked_and_in_the_audit(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    keys_of = f"/ops/v1/tenants/{api_server.tenant}/keys"
    made = operator.post(keys_of, json={}).json()
    path = f"{keys_of}/{made['id']}"
    assert pointers(operator.patch(path, json={"monthly_credits": -1, "x": 1})) == {
        "/monthly_credits",
        "/x",
    }
    problem(operator.patch(path, json={}), 422, "invalid_request")
    problem(
        operator.patch(f"{keys_of}/000000000000", json={"monthly_credits": 1}), 404, "not_found"
    )
    operator.patch(path, json={"monthly_credits": 5})
    entry = operator.get("/ops/v1/audit?limit=1").json()["data"][0]
    assert (entry["action"], entry["target"]) == ("key.set", api_server.tenant)
    assert entry["detail"] == {"key": made["id"], "monthly_credits": 5}


def test_a_tenant_without_a_rate_is_told_of_none(api_server: ApiServer) -> None:
    answer = api_server.client.post("/v1/jobs", json=PROMPT)
    assert "ratelimit" not in answer.headers


def test_a_replayed_key_is_no_request(api_server: ApiServer) -> None:
    limit(api_server, requests_per_minute=1)
    key = {"idempotency-key": "once"}
    answers = [api_server.client.post("/v1/jobs", json=PROMPT, headers=key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    problem(api_server.client.post("/v1/jobs", json=PROMPT), 429, "rate_limited")


@pytest.mark.parametrize(
    "limits", [{"requests_per_minute": 1}, {"max_queued": 2}, {"daily_credits": 3}]
)
def test_a_replayed_batch_is_not_refused_for_what_the_batch_itself_used_up(
    api_server: ApiServer, limits: dict[str, int]
) -> None:
    limit(api_server, **limits)
    body = {**PROMPT, "variations": 2}
    key = {"idempotency-key": "once"}
    answers = [api_server.client.post("/v1/batches", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert answers[1].json()["id"] == answers[0].json()["id"]
    other = api_server.client.post("/v1/batches", json={**body, "priority": "low"}, headers=key)
    problem(other, 422, "idempotency_key_reused")
    assert api_server.client.post("/v1/batches", json=body).status_code == 429


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        ({"max_queued": 2}, "more jobs than the tenant may have in its queue (2)"),
        ({"monthly_credits": 4}, "more than the 4 credits that the tenant may spend in a month"),
    ],
)
def test_a_batch_that_could_never_be_accepted_is_invalid(
    api_server: ApiServer, limits: dict[str, int], fault: str
) -> None:
    limit(api_server, **limits)
    with nothing_written(api_server):
        answer = api_server.client.post("/v1/batches", json={**PROMPT, "variations": 3})
    assert "retry-after" not in answer.headers
    [error] = problem(answer, 422, "invalid_request")["errors"]
    assert fault in error["message"]


def test_a_line_behind_its_deadline_is_ours_to_answer_for(api_server: ApiServer) -> None:
    old = api_server.create()["id"]
    api_server.world.client.hset(keys.job(old), "created", 1)
    api_server.world.client.zadd(f"{{dr}}:q:jobs:ready:{api_server.tenant}", {old: 1})
    with nothing_written(api_server):
        answer = api_server.client.post("/v1/jobs", json=PROMPT)
    problem(answer, 503, "deadline_unreachable")
    assert int(answer.headers["retry-after"]) == 600


def test_who_would_wait_too_long_is_told_how_long(api_server: ApiServer) -> None:
    for _ in range(3):
        api_server.create()
    group = keys.queue_group("jobs", api_server.tenant)
    api_server.world.client.hset(group, "throughput", f"6 60000 {FAR}")
    for wish in ({"max_position": 2}, {"max_wait_seconds": 20}):
        with nothing_written(api_server):
            answer = api_server.client.post("/v1/jobs", json={**PROMPT, "fail_fast": wish})
        shown = problem(answer, 503, "wait_limit_exceeded")
        assert (shown["position"], shown["eta_seconds"]) == (3, 30)
        assert answer.headers["retry-after"] == "30"
    api_server.create(fail_fast={"max_position": 3, "max_wait_seconds": 40})


# dry runs -------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_and_writes_nothing(api_server: ApiServer) -> None:
    limit(api_server, requests_per_minute=10)
    api_server.create()
    with nothing_written(api_server):
        answer = api_server.client.post("/v1/jobs", json={**PROMPT, "dry_run": True})
    assert answer.status_code == 200
    assert answer.headers["ratelimit"].startswith('"requests";r=9;')
    assert answer.json() == {
        "dry_run": True,
        "would_accept": True,
        "refusal": None,
        "model": DEFAULT_MODEL,
        "price": {"credits": 1.5, "estimated": True},
        "reused_from": None,
        "waiting_on": "queue",
        "position": 1,
        "eta_seconds": None,
    }


def test_a_dry_run_says_why_it_would_be_refused(api_server: ApiServer) -> None:
    limit(api_server, requests_per_minute=0)
    with nothing_written(api_server):
        shown = api_server.client.post("/v1/jobs", json={**PROMPT, "dry_run": True}).json()
    assert shown["would_accept"] is False
    assert (shown["refusal"]["code"], shown["refusal"]["status"]) == ("rate_limited", 429)
    assert shown["refusal"]["retry_after"] == 60


def test_a_dry_run_is_checked_as_a_job_is(api_server: ApiServer) -> None:
    body = {"input": {"prompt": " "}, "dry_run": True, "reuse": True}
    assert pointers(api_server.client.post("/v1/jobs", json=body)) == {
        "/input/prompt",
        "/input/seed",
    }


# usage ----------------------------------------------------------------------------------------


def test_usage_tells_limits_what_is_used_and_left_and_credits_by_day(api_server: ApiServer) -> None:
    limit(api_server, requests_per_minute=10, max_queued=5, max_running=3, daily_credits=30)
    for _ in range(3):
        api_server.create(tags=["catalogue"])
    api_server.succeed()
    api_server.world.claim()
    shown = api_server.client.get("/v1/usage").json()
    assert shown["limits"] == {
        "weight": 1,
        "max_running": 3,
        "max_queued": 5,
        "requests_per_minute": 10,
        "key_requests_per_minute": None,
        "daily_credits": 30,
        "monthly_credits": None,
        "budget_action": "refuse",
        "may_disable_safety": True,
        "models": None,
    }
    spent = {"credits": 1.5, "credits_promised": 3}
    assert shown["used"] == {"running": 1, "queued": 1, "requests": 3, **spent}
    assert shown["left"] == {"running": 2, "queued": 4, "requests": 7, "credits": 25.5}
    assert shown["estimated"] is True
    (day,) = shown["days"]
    assert day["tags"] == {"catalogue": {"calls": 1, "credits": 1.5}}
    assert shown["credits_reset_at"] > day["date"]
    assert shown["budgets"] == [
        {
            "scope": "tenant",
            "period": "day",
            "limit": 30,
            "used": 1.5,
            "promised": 3,
            "left": 25.5,
            "threshold": None,
            "resets_at": shown["credits_reset_at"],
        }
    ]


def test_usage_without_any_price_counts_no_credits(empty_redis_url: str) -> None:
    unpriced = settings(empty_redis_url, credits_per_image="")
    with served(unpriced) as url, tenant_at(url, empty_redis_url) as api_server:
        limit(api_server, daily_credits=1)
        for _ in range(2):
            api_server.create(tags=["catalogue"])
        api_server.succeed()
        shown = api_server.client.get("/v1/usage").json()
        with client_of(url, api_server.credentials.ops_key) as operator:
            tenant = operator.get(f"/ops/v1/tenants/{api_server.tenant}").json()
            changed = operator.patch(
                f"/ops/v1/tenants/{api_server.tenant}", json={"daily_credits": None}
            ).json()
    assert (shown["used"]["credits"], shown["used"]["credits_promised"]) == (None, None)
    assert shown["left"]["credits"] is None
    assert [(one["limit"], one["used"], one["left"]) for one in shown["budgets"]] == [
        (1, None, None)
    ]
    (day,) = shown["days"]
    assert (day["calls"], day["credits"]) == (1, None)
    assert day["tags"] == {"catalogue": {"calls": 1, "credits": None}}
    (warning,) = tenant["warnings"]
    assert warning.startswith("`daily_credits` does nothing: no price is set")
    assert changed["warnings"] == []


def test_usage_without_limits_has_nothing_left_to_tell(api_server: ApiServer) -> None:
    shown = api_server.client.get("/v1/usage", params={"days": 1}).json()
    assert set(shown["left"].values()) == {None}
    assert shown["days"] == []
    assert pointers(api_server.client.get("/v1/usage?days=91")) == {"/query/days"}


def test_a_model_shows_what_a_call_may_cost(api_server: ApiServer) -> None:
    prices = {
        model["id"]: model["price"] for model in api_server.client.get("/v1/models").json()["data"]
    }
    assert prices[DEFAULT_MODEL] == {"credits": 1.5, "estimated": True}
    assert {price["credits"] for price in prices.values() if price} == {1.5}
