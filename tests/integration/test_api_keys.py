"""What a key opens: its scopes, its end, and what many wrong ones bring."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from sandbox.wait import wait_until
from shared.api_keys import OPERATORS, OPS_SCOPES, Key, new_key, parse_key
from shared.store import api_keys, keys
from shared.store.provisioning import open_ops_key
from tests.conftest import InTime
from tests.support.api_server import (
    PROMPT,
    ApiServer,
    client_of,
    problem,
    served,
    settings,
    tenant_at,
)
from tests.support.store import World

HOUR_MS = 3_600_000


def keys_of(api_server: ApiServer) -> str:
    return f"/ops/v1/tenants/{api_server.tenant}/keys"


def test_a_key_opens_what_its_scopes_say_and_the_rest_names_what_it_lacks(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    made = operator.post(
        keys_of(api_server), json={"scopes": ["jobs:read"], "label": "reports"}
    ).json()
    with client_of(api_server.url, made["key"]) as reader:
        assert reader.get("/v1/jobs").status_code == 200
        told = problem(reader.post("/v1/jobs", json=PROMPT), 403, "forbidden")
        assert told["scope"] == "jobs:write"
        assert "jobs:write" in told["detail"]
        told = problem(reader.get("/ops/v1/audit"), 403, "forbidden")
        assert told["scope"] == "ops:read"


def test_an_operator_who_only_reads_changes_nothing(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    made = operator.post(keys_of(api_server), json={"scopes": ["ops:read"]}).json()
    with client_of(api_server.url, made["key"]) as reader:
        assert reader.get("/ops/v1/queues").status_code == 200
        for path in (keys_of(api_server), "/ops/v1/queues/generate/pause", "/ops/v1/jobs/cancel"):
            assert problem(reader.post(path, json={}), 403, "forbidden")["scope"] == "ops:write"


def test_a_key_is_shown_once_and_listed_without_its_secret(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    answer = operator.post(keys_of(api_server), json={"expires_at": "2999-01-01T00:00:00Z"})
    assert answer.status_code == 201
    made = answer.json()
    key = parse_key(made["key"])
    assert key is not None
    listed = operator.get(keys_of(api_server))
    shown = {one["id"]: one for one in listed.json()["data"]}[made["id"]]
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert shown["expires_at"] == "2999-01-01T00:00:00.000Z"
    assert shown["prefix"] == f"dk_{key.id}_"
    assert key.secret not in listed.text
    assert key.hash not in listed.text


def test_when_a_key_was_last_used_is_noted(api_server: ApiServer, operator: httpx.Client) -> None:
    made = operator.post(keys_of(api_server), json={}).json()
    assert made["last_used_at"] is None

    def used() -> bool:
        shown = {one["id"]: one for one in operator.get(keys_of(api_server)).json()["data"]}
        return shown[made["id"]]["last_used_at"] is not None

    with client_of(api_server.url, made["key"]) as client:
        client.get("/v1/jobs")
    wait_until(used, "the use to be noted")


def test_two_keys_live_while_one_takes_the_place_of_the_other(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    key = parse_key(api_server.credentials.api_key)
    assert key is not None
    later = operator.post(f"{keys_of(api_server)}/{key.id}/rotate").json()
    for text in (api_server.credentials.api_key, later["key"]):
        with client_of(api_server.url, text) as client:
            assert client.get("/v1/jobs").status_code == 200
    again = operator.post(f"{keys_of(api_server)}/{key.id}/rotate", json={"grace_seconds": 0})
    assert problem(again, 409, "key_replaced")["replaced_by"] == later["id"]
    operator.delete(f"{keys_of(api_server)}/{later['id']}")
    problem(operator.post(f"{keys_of(api_server)}/{later['id']}/rotate"), 409, "key_inactive")


def answers(api_server: ApiServer, text: str) -> httpx.Response:
    return httpx.get(f"{api_server.url}/v1/jobs", headers={"authorization": f"Bearer {text}"})


def test_a_revoked_key_is_told_so_and_only_to_who_has_its_secret(
    api_server: ApiServer, operator: httpx.Client, in_time: InTime
) -> None:
    made = operator.post(keys_of(api_server), json={}).json()
    assert answers(api_server, made["key"]).status_code == 200
    assert operator.delete(f"{keys_of(api_server)}/{made['id']}").status_code == 204
    began = time.monotonic()
    wait_until(
        lambda: answers(api_server, made["key"]).status_code == 401, "the key to be forgotten"
    )
    in_time(time.monotonic() - began, 5)
    told = problem(answers(api_server, made["key"]), 401, "unauthenticated")
    assert told["detail"].startswith("The API key is revoked.")
    guessed = Key(made["id"], new_key().secret).text
    assert "revoked" not in problem(answers(api_server, guessed), 401, "unauthenticated")["detail"]


def test_a_key_that_is_over_is_told_so(api_server: ApiServer, operator: httpx.Client) -> None:
    made = operator.post(keys_of(api_server), json={"expires_at": "2999-01-01T00:00:00Z"}).json()
    api_server.world.client.hset(keys.api_key(made["id"]), "expires", 1)
    told = problem(answers(api_server, made["key"]), 401, "unauthenticated")
    assert told["detail"].startswith("The API key is expired.")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["jobs:all"]}, "/scopes/0"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"label": "a\nb"}, "/label"),
        ({"scope": ["jobs:read"]}, "/scope"),
    ],
)
def test_a_key_that_cannot_be_is_refused_at_its_place(
    api_server: ApiServer, operator: httpx.Client, body: dict[str, object], pointer: str
) -> None:
    told = problem(operator.post(keys_of(api_server), json=body), 422, "invalid_request")
    assert [fault["pointer"] for fault in told["errors"]] == [pointer]


# many wrong keys ------------------------------------------------------------------------------


def test_who_fails_too_often_waits_and_a_key_that_works_is_not_locked_out(
    empty_redis_url: str,
) -> None:
    with (
        served(settings(empty_redis_url, auth_failures_per_minute=3)) as url,
        tenant_at(url, empty_redis_url) as api_server,
    ):
        assert api_server.client.get("/v1/jobs").status_code == 200
        for text in ("nonsense", new_key().text, new_key().text):
            problem(answers(api_server, text), 401, "unauthenticated")
        told = answers(api_server, new_key().text)
        problem(told, 429, "auth_rate_limited")
        assert int(told.headers["retry-after"]) > 0
        assert api_server.client.get("/v1/jobs").status_code == 200
        assert httpx.get(f"{url}/v1/jobs").status_code == 401
        assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("failures", [4, 40])
def test_a_good_key_that_was_never_seen_passes_after_many_wrong_ones(
    empty_redis_url: str, failures: int
) -> None:
    # given an address that failed too often
    with (
        served(settings(empty_redis_url, auth_failures_per_minute=3)) as url,
        tenant_at(url, empty_redis_url) as api_server,
        ThreadPoolExecutor(8) as others,
    ):
        # of those that come at once some are answered before any counts: the first come one by one
        first = [answers(api_server, new_key().text).status_code for _ in range(4)]
        assert first == [401, 401, 401, 429]
        wrong = [others.submit(answers, api_server, new_key().text) for _ in range(failures - 4)]
        assert {answer.result().status_code for answer in wrong} <= {429}
        # then good keys pass, and a wrong, a mistyped and a revoked one do not
        with client_of(url, api_server.credentials.ops_key) as operator:
            made = operator.post(keys_of(api_server), json={}).json()
            assert operator.delete(f"{keys_of(api_server)}/{made['id']}").status_code == 204
        assert api_server.client.get("/v1/jobs").status_code == 200
        for text in (new_key().text, "nonsense", made["key"]):
            problem(answers(api_server, text), 429, "auth_rate_limited")


def test_a_key_of_an_operator_belongs_to_no_tenant(api_server: ApiServer) -> None:
    with closing(World(api_server.world.settings.redis_url)) as world:
        text = open_ops_key(world.store, by="test")
        listed = world.store.run(api_keys.list_api_keys(OPERATORS)) or ()
        whose = world.store.run(api_keys.list_api_keys(api_server.tenant)) or ()
    key = parse_key(text)
    assert key is not None
    assert {one.id: one.scopes for one in listed}[key.id] == OPS_SCOPES
    assert key.id not in {one.id for one in whose}
    with client_of(api_server.url, text) as operator:
        assert operator.get("/ops/v1/me").json()["tenant"] is None
        names = [one["name"] for one in operator.get("/ops/v1/tenants").json()["data"]]
        assert names == [api_server.tenant]
        assert operator.post("/ops/v1/tenants", json={"name": "shop"}).status_code == 201
        problem(operator.get(f"/ops/v1/tenants/{OPERATORS}/keys"), 404, "not_found")
        problem(operator.get("/v1/jobs"), 403, "forbidden")
