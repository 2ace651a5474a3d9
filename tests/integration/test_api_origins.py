"""Pages of other origins, and a service below a path that a proxy takes away."""

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from api.cors import Cors
from shared.model_catalog import DEFAULT_MODEL
from tests.support.api_server import PROMPT, ApiServer, served, settings, tenant_at

APP = "https://app.example"
OTHER = "https://other.example"
PUBLIC = "https://images.example/darkroom"


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    chosen = settings(redis_url, cors_origins=f"{APP}, http://localhost:3000", public_url=PUBLIC)
    with served(chosen) as url:
        yield url


def preflight(api_server: ApiServer, origin: str, path: str = "/v1/jobs") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return httpx.options(f"{api_server.url}{path}", headers=headers)


def test_a_page_of_an_origin_on_the_list_may_ask_and_read(api_server: ApiServer) -> None:
    # given a browser that asks first
    may = preflight(api_server, APP)
    assert may.status_code == 204
    assert may.headers["access-control-allow-origin"] == APP
    assert "POST" in may.headers["access-control-allow-methods"]
    assert "authorization" in may.headers["access-control-allow-headers"]
    assert "Origin" in may.headers.get_list("vary", split_commas=True)
    # when it asks
    made = api_server.client.post("/v1/jobs", json=PROMPT, headers={"Origin": APP})
    # then the page may read all of it
    assert made.status_code == 202
    assert made.headers["access-control-allow-origin"] == APP
    exposed = made.headers["access-control-expose-headers"]
    for name in ("ETag", "Location", "X-Request-Id", "Retry-After", "Idempotent-Replayed"):
        assert name in exposed
    assert {"RateLimit", "RateLimit-Policy"} <= set(exposed.split(", "))


@pytest.mark.parametrize("path", ["/v1/jobs", "/nowhere", "/openai/v1/models"])
def test_what_goes_wrong_can_be_read_too(api_server: ApiServer, path: str) -> None:
    answer = httpx.get(f"{api_server.url}{path}", headers={"Origin": APP})
    assert answer.status_code >= 400
    assert answer.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("origin", [OTHER, "null", f"{APP}.evil.example", "http://app.example"])
def test_a_page_of_any_other_origin_may_not(api_server: ApiServer, origin: str) -> None:
    refused = preflight(api_server, origin)
    assert refused.status_code == 405
    answer = api_server.client.get("/v1/jobs", headers={"Origin": origin})
    for one in (refused, answer):
        assert "access-control-allow-origin" not in one.headers
        # a cache keeps it for this origin alone
        assert one.headers["vary"] == "Origin"


def test_without_a_list_nothing_is_said_of_origins(empty_redis_url: str) -> None:
    with (
        served(settings(empty_redis_url)) as url,
        tenant_at(url, empty_redis_url) as api_server,
    ):
        answer = api_server.client.get("/v1/jobs", headers={"Origin": APP})
        assert preflight(api_server, APP).status_code == 405
    assert not [
        name for name in answer.headers if name.startswith("access-control") or name == "vary"
    ]


def test_a_signed_image_may_be_read_by_any_page(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    signed = urlsplit(api_server.client.get(f"/v1/jobs/{job['id']}").json()["image"]["url"])
    path = f"{signed.path.removeprefix('/darkroom')}?{signed.query}"
    answer = httpx.get(f"{api_server.url}{path}&redirect=1&utm_source=x&utm_source=y")
    assert answer.status_code == 302
    assert answer.headers["access-control-allow-origin"] == "*"
    may = preflight(api_server, OTHER, path)
    assert (may.status_code, may.headers["access-control-allow-origin"]) == (204, "*")
    # an address that does not hold says why
    wrong = httpx.get(f"{api_server.url}{path}x")
    assert problem_code(wrong) == "signature_invalid"
    assert wrong.headers["access-control-allow-origin"] == "*"
    # and with a key in place of a signature the list counts
    keyed = api_server.client.get(signed.path, headers={"Origin": OTHER})
    assert "access-control-allow-origin" not in keyed.headers
    assert api_server.client.get(f"{signed.path}?utm_source=x").status_code == 422


def problem_code(answer: httpx.Response) -> str:
    return str(answer.json()["code"])


def test_every_origin_may_be_allowed() -> None:
    scope = {"path": "/v1/jobs", "query_string": b"", "method": "GET"}
    headers = dict(Cors(("*",)).headers(scope, OTHER.encode()))
    assert headers[b"access-control-allow-origin"] == b"*"


def test_all_that_is_told_of_addresses_leads_below_the_path_of_the_proxy(
    api_server: ApiServer,
) -> None:
    made = api_server.client.post("/v1/jobs", json=PROMPT)
    assert made.headers["location"] == f"/darkroom/v1/jobs/{made.json()['id']}"
    batch = api_server.client.post("/v1/batches", json={"jobs": [PROMPT]})
    assert batch.headers["location"].startswith("/darkroom/v1/batches/")
    for unknown in ("/nowhere", "/replicate/v1/nowhere"):
        refused = api_server.client.get(unknown).json()
        assert refused["type"] == "/darkroom/problems/not_found"
    assert api_server.client.get("/openapi.json").json()["servers"] == [{"url": "/darkroom"}]
    path = f"/replicate/v1/models/{DEFAULT_MODEL}/predictions"
    predicted = api_server.client.post(path, json=PROMPT).json()
    assert predicted["urls"]["get"].startswith(f"{PUBLIC}/replicate/v1/predictions/")
    api_server.client.post(path, json=PROMPT)
    api_server.succeed()
    job = api_server.client.get("/v1/jobs", params={"status": "succeeded"}).json()["data"][0]
    assert job["image"]["url"].startswith(f"{PUBLIC}/v1/jobs/")


@pytest.mark.parametrize("page", ["/", "/docs", "/ops"])
@pytest.mark.parametrize("prefix", ["", "/darkroom"])
def test_a_page_finds_its_files_whether_the_proxy_takes_its_path_away_or_not(
    api_server: ApiServer, page: str, prefix: str
) -> None:
    text = api_server.client.get(f"{prefix}{page}").text
    found = re.findall(r'(?:href|src)="([^"#]+)"', text)
    assert len(found) > 3
    for link in found:
        assert urljoin(f"{PUBLIC}{page}", link).startswith(f"{PUBLIC}/pages/")
        assert api_server.client.get(link).status_code == 200
        assert api_server.client.get(link.removeprefix("/darkroom")).status_code == 200


def test_a_path_given_to_the_server_itself_counts_too(redis_url: str) -> None:
    chosen = settings(redis_url, public_url=PUBLIC)
    with served(chosen, root_path="/darkroom") as url, tenant_at(url, redis_url) as api_server:
        assert api_server.client.post("/v1/jobs", json=PROMPT).status_code == 202
        answer = api_server.client.post("/openai/v1/images/generations", json={})
        assert "error" in answer.json()


@pytest.mark.parametrize("path", ["/ops", "/v1"])
def test_a_path_that_is_also_one_of_ours_is_only_in_front(redis_url: str, path: str) -> None:
    chosen = settings(redis_url, public_url=f"https://images.example{path}")
    with served(chosen) as url, tenant_at(url, redis_url) as api_server:
        assert api_server.client.post("/v1/jobs", json=PROMPT).headers["location"].startswith(path)


def test_a_head_names_no_length_that_its_get_does_not_have(api_server: ApiServer) -> None:
    job = api_server.create()
    batch = api_server.client.post("/v1/batches", json={"jobs": [PROMPT]}).json()["id"]
    manifest = f"/v1/batches/{batch}/manifest"
    for path in (manifest, f"{manifest}?format=zip", f"/v1/jobs/{job['id']}/events"):
        answer = api_server.client.head(path)
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
    for path in (f"/v1/jobs/{job['id']}", "/v1/models", "/healthz", "/nowhere"):
        length = len(api_server.client.get(path).content)
        assert abs(int(api_server.client.head(path).headers["content-length"]) - length) < 30


def test_what_did_not_change_says_the_same_of_keeping_it(api_server: ApiServer) -> None:
    job = api_server.create()
    for path in (f"/v1/jobs/{job['id']}", "/", "/docs"):
        whole = api_server.client.get(path)
        known = api_server.client.get(path, headers={"If-None-Match": whole.headers["etag"]})
        assert known.status_code == 304
        for name in ("cache-control", "etag", "vary"):
            assert known.headers[name] == whole.headers[name]
