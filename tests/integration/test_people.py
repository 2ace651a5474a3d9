"""Operators whom an authenticating proxy names: two people, their rights, and forged headers."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from shared.errors import InvalidSettings
from shared.settings import load_settings
from tests.support.api_server import ApiServer, problem, served, settings, tenant_at

PEOPLE = {
    "ops_auth_header": "X-Forwarded-Email",
    "ops_auth_groups_header": "X-Forwarded-Groups",
    "ops_auth_scopes": "group:sre=ops:write,user:ben@example.com=ops:read",
}
ANN = {"X-Forwarded-Email": "ann@example.com", "X-Forwarded-Groups": "staff, sre"}
BEN = {"X-Forwarded-Email": "ben@example.com"}


@contextmanager
def api(redis_url: str, **changes: Any) -> Iterator[ApiServer]:
    given = {**PEOPLE, "ops_auth_proxies": "127.0.0.0/8", **changes}
    with served(settings(redis_url, **given)) as url, tenant_at(url, redis_url) as server:
        yield server


@pytest.fixture
def server(empty_redis_url: str) -> Iterator[ApiServer]:
    with api(empty_redis_url) as server:
        yield server


def pause(server: ApiServer, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{server.url}/ops/v1/queues/generate/pause", headers=headers)


def test_a_person_sees_and_does_what_the_settings_allow(server: ApiServer) -> None:
    me = httpx.get(f"{server.url}/ops/v1/me", headers=ANN).json()
    assert me == {
        "key_id": None,
        "person": "ann@example.com",
        "tenant": None,
        "scopes": ["ops:read", "ops:write"],
    }
    assert httpx.get(f"{server.url}/ops/v1/me", headers=BEN).json()["scopes"] == ["ops:read"]

    assert pause(server, ANN).status_code == 200
    refused = problem(pause(server, BEN), 403, "forbidden")
    assert refused["detail"] == ("This request needs the scope ops:write, which you do not have.")
    stranger = {"X-Forwarded-Email": "eve@example.com", "X-Forwarded-Groups": "staff"}
    problem(httpx.get(f"{server.url}/ops/v1/tenants", headers=stranger), 403, "forbidden")


def test_the_audit_names_the_person(server: ApiServer) -> None:
    pause(server, ANN)

    found = httpx.get(f"{server.url}/ops/v1/audit?by=user:ann@example.com", headers=BEN).json()
    assert [(entry["by"], entry["action"]) for entry in found["data"]] == [
        ("user:ann@example.com", "queue.pause")
    ]


def test_a_person_is_no_tenant(server: ApiServer) -> None:
    problem(httpx.get(f"{server.url}/v1/jobs", headers=ANN), 401, "unauthenticated")


def test_a_key_takes_precedence_over_the_header(server: ApiServer) -> None:
    key = {"Authorization": f"Bearer {server.credentials.ops_key}"}
    me = httpx.get(f"{server.url}/ops/v1/me", headers={**BEN, **key}).json()
    assert (me["person"], me["scopes"]) == (None, ["ops:read", "ops:write"])
    wrong = {"Authorization": "Bearer dk_wrong"}
    problem(httpx.get(f"{server.url}/ops/v1/me", headers={**ANN, **wrong}), 401, "unauthenticated")


def test_a_forged_header_from_another_address_does_nothing(empty_redis_url: str) -> None:
    with api(empty_redis_url, ops_auth_proxies="10.0.0.0/8") as server:
        problem(httpx.get(f"{server.url}/ops/v1/me", headers=ANN), 401, "unauthenticated")
        # nor does an address that is only claimed, even by a proxy that may claim it
        claimed = {**ANN, "X-Forwarded-For": "10.0.0.7"}
        problem(httpx.get(f"{server.url}/ops/v1/me", headers=claimed), 401, "unauthenticated")


def test_a_header_that_no_setting_names_does_nothing(empty_redis_url: str) -> None:
    with served(settings(empty_redis_url)) as url:
        problem(httpx.get(f"{url}/ops/v1/me", headers=ANN), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://darkroom.test"}, 200),
        ({"Origin": "https://console.test", "Host": "console.test"}, 200),
    ],
)
def test_another_site_cannot_use_the_cookie_of_the_proxy(
    server: ApiServer, headers: dict[str, str], status: int
) -> None:
    assert pause(server, {**ANN, **headers}).status_code == status


@pytest.mark.parametrize("names", [["ann@example.com", "ben@example.com"], ["a" * 201], ["\xe4nn"]])
def test_a_name_that_is_not_one_is_refused(server: ApiServer, names: list[str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.putrequest("GET", "/ops/v1/me")
    for name in names:
        connection.putheader("X-Forwarded-Email", name.encode("latin-1"))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 403
    assert (
        json.loads(answer.read())["detail"]
        == "The proxy sends no single name in X-Forwarded-Email."
    )
    connection.close()


def test_the_settings_belong_together() -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(ops_auth_header="X-Forwarded-Email", ops_auth_scopes="sre=write")
    assert str(refused.value).splitlines() == [
        (
            "DARKROOM_OPS_AUTH_PROXIES is not usable: DARKROOM_OPS_AUTH_HEADER needs the addresses "
            "that may send it."
        ),
        (
            "DARKROOM_OPS_AUTH_SCOPES is not usable: needs group:NAME=SCOPE or user:NAME=SCOPE, "
            "several separated by commas, where SCOPE is ops:read or ops:write."
        ),
    ]
