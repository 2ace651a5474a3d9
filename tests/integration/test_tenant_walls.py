"""Nobody sees another's anything: every route there is, asked with another tenant's names."""

import re
from typing import Any

import pytest

from api.main import ROUTES
from api.routing import Route
from tests.support.api_server import PROMPT, ApiServer, client_of, problem, tenant_at

#: What stands in a path and is nobody's own: models and words that all may read.
COMMON = {"owner", "name", "code", "version", "model_id"}
#: Routes that ask for no key at all.
OPEN = {"/healthz", "/readyz", "/metrics", "/problems/{code}"}

#: What the API reference tells of; the pages are the same for everybody.
TOLD = [route for route in ROUTES if route.include_in_schema]


def accepted(route: Route) -> list[str]:
    """Return the methods that a route answers: a GET answers HEAD too."""
    methods = set(route.methods or ())
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def names_in(route: Route) -> set[str]:
    return set(re.findall(r"{(\w+)}", route.path_format))


OWNED = [
    pytest.param(route, method, id=f"{method} {route.path}")
    for route in TOLD
    for method in accepted(route)
    if names_in(route) - COMMON and not route.path.startswith("/ops/")
]
LISTS = [
    pytest.param(route, id=route.path)
    for route in TOLD
    if "GET" in accepted(route) and not names_in(route) and not route.path.startswith("/ops/")
    if route.path not in OPEN
]
OPERATED = [
    pytest.param(route, method, id=f"{method} {route.path}")
    for route in TOLD
    for method in accepted(route)
    if route.path.startswith("/ops/")
]


def ids_of(owner: ApiServer) -> dict[str, str]:
    """Return a name of theirs for each name in a path; a route with another fails here."""
    webhook = {"url": "https://example.com/secret-hook", "events": ["job.canceled"]}
    marks = {"tags": ["secret-tag"], "metadata": {"secret": "secret-pair"}}
    told = owner.create(webhook=webhook)
    owner.client.post(f"/v1/jobs/{told['id']}/cancel")
    delivery = owner.client.get("/v1/webhooks/deliveries").json()["data"][0]
    job_id = owner.create(**marks)["id"]
    none = {"filter": {"tag": "no-such-tag"}, "expected_count": 0}
    return {
        "job_id": job_id,
        "prediction_id": job_id,
        "delivery_id": delivery["id"],
        "endpoint_id": delivery["endpoint_id"],
        "erasure_id": owner.client.post("/v1/jobs/delete", json=none).json()["id"],
        "batch_id": owner.client.post("/v1/batches", json={"jobs": [PROMPT], **marks}).json()["id"],
    }


@pytest.mark.parametrize(("route", "method"), OWNED)
def test_what_is_anothers_is_not_found(api_server: ApiServer, route: Route, method: str) -> None:
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as stranger:
        theirs = ids_of(api_server)
        path = route.path.format(**theirs)
        before = api_server.world.read(theirs["job_id"], "").job
        answer = stranger.client.request(
            method, path, json={"enabled": True} if method == "PATCH" else None
        )
        assert answer.status_code == 404, path
        if method != "HEAD":
            problem(answer, 404, "not_found")
        assert api_server.world.read(theirs["job_id"], "").job == before


@pytest.mark.parametrize("route", LISTS)
def test_a_list_tells_nothing_of_another(api_server: ApiServer, route: Route) -> None:
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as stranger:
        theirs: dict[str, Any] = ids_of(api_server)
        told = stranger.client.get(route.path).text
        for secret in (
            *theirs.values(),
            api_server.tenant,
            "secret-tag",
            "secret-pair",
            "secret-hook",
        ):
            assert secret not in told


@pytest.mark.parametrize(("route", "method"), OPERATED)
def test_a_tenants_key_opens_nothing_of_the_operators(
    api_server: ApiServer, route: Route, method: str
) -> None:
    path = re.sub(r"{(\w+)}", "x", route.path)
    answer = api_server.client.request(method, path)
    assert answer.status_code == 403, path


def test_an_idempotency_key_of_one_tenant_is_nothing_to_another(api_server: ApiServer) -> None:
    key = {"idempotency-key": "same"}
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as stranger:
        mine = api_server.client.post("/v1/jobs", json=PROMPT, headers=key).json()
        theirs = stranger.client.post(
            "/v1/jobs", json={"input": {"prompt": "Another"}}, headers=key
        )
        assert theirs.status_code == 202
        assert theirs.json()["id"] != mine["id"]


def test_an_operators_key_alone_does_not_read_jobs_as_a_tenant(api_server: ApiServer) -> None:
    with client_of(api_server.url, api_server.credentials.ops_key) as operator:
        assert problem(operator.get("/v1/jobs"), 403, "forbidden")["scope"] == "jobs:read"
