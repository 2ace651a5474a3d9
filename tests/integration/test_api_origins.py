"""Pages of other origins, and a service below a path that a proxy takes away."""

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from api.cors import Cors
from shared.models import DEFAULT_MODEL
from tests.front_door import PROMPT, FrontDoor, served, settings, tenant_at

APP = "https://app.example"
OTHER = "https://other.example"
PUBLIC = "https://images.example/darkroom"


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    chosen = settings(redis_url, cors_origins=f"{APP}, http://localhost:3000", public_url=PUBLIC)
    with served(chosen) as url:
        yield url


@pytest.fixture
def door(url: str, empty_redis_url: str) -> Iterator[FrontDoor]:
    with tenant_at(url, empty_redis_url) as door:
        yield door


def preflight(door: FrontDoor, origin: str, path: str = "/v1/jobs") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return httpx.options(f"{door.url}{path}", headers=headers)


def test_a_page_of_an_origin_on_the_list_may_ask_and_read(door: FrontDoor) -> None:
    # given a browser that asks first
    may = preflight(door, APP)
    assert may.status_code == 204
    assert may.headers["access-control-allow-origin"] == APP
    assert "POST" in may.headers["access-control-allow-methods"]
    assert "authorization" in may.headers["access-control-allow-headers"]
    assert "Origin" in may.headers.get_list("vary", split_commas=True)
    # when it asks
    made = door.client.post("/v1/jobs", json=PROMPT, headers={"Origin": APP})
    # then the page may read all of it
    assert made.status_code == 202
    assert made.headers["access-control-allow-origin"] == APP
    exposed = made.headers["access-control-expose-headers"]
    for name in ("ETag", "Location", "X-Request-Id", "Retry-After", "Idempotent-Replayed"):
        assert name in exposed
    assert {"RateLimit", "RateLimit-Policy"} <= set(exposed.split(", "))


@pytest.mark.parametrize("path", ["/v1/jobs", "/nowhere", "/openai/v1/models"])
def test_what_goes_wrong_can_be_read_too(door: FrontDoor, path: str) -> None:
    answer = httpx.get(f"{door.url}{path}", headers={"Origin": APP})
    assert answer.status_code >= 400
    assert answer.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("origin", [OTHER, "null", f"{APP}.evil.example", "http://app.example"])
def test_a_page_of_any_other_origin_may_not(door: FrontDoor, origin: str) -> None:
    refused = preflight(door, origin)
    assert refused.status_code == 405
    answer = door.client.get("/v1/jobs", headers={"Origin": origin})
    for one in (refused, answer):
        assert "access-control-allow-origin" not in one.headers
        # a cache keeps it for this origin alone
        assert one.headers["vary"] == "Origin"


def test_without_a_list_nothing_is_said_of_origins(empty_redis_url: str) -> None:
    with (
        served(settings(empty_redis_url)) as url,
        tenant_at(url, empty_redis_url) as door,
    ):
        answer = door.client.get("/v1/jobs", headers={"Origin": APP})
        assert preflight(door, APP).status_code == 405
    assert not [
        name for name in answer.headers if name.startswith("access-control") or name == "vary"
    ]


def test_a_signed_image_may_be_read_by_any_page(door: FrontDoor) -> None:
    job = door.create()
    door.succeed()
    signed = urlsplit(door.client.get(f"/v1/jobs/{job['id']}").json()["image"]["url"])
    path = f"{signed.path.removeprefix('/darkroom')}?{signed.query}"
    answer = httpx.get(f"{door.url}{path}&redirect=1&utm_source=x&utm_source=y")
    assert answer.status_code == 302
    assert answer.headers["access-control-allow-origin"] == "*"
    may = preflight(door, OTHER, path)
    assert (may.status_code, may.headers["access-control-allow-origin"]) == (204, "*")
    # an address that does not hold says why
    wrong = httpx.get(f"{door.url}{path}x")
    assert problem_code(wrong) == "signature_invalid"
    assert wrong.headers["access-control-allow-origin"] == "*"
    # and with a key in place of a signature the list counts
    keyed = door.client.get(signed.path, headers={"Origin": OTHER})
    assert "access-control-allow-origin" not in keyed.headers
    assert door.client.get(f"{signed.path}?utm_source=x").status_code == 422


def problem_code(answer: httpx.Response) -> str:
    return str(answer.json()["code"])


def test_every_origin_may_be_allowed() -> None:
    scope = {"path": "/v1/jobs", "query_string": b"", "method": "GET"}
    headers = dict(Cors(("*",)).headers(scope, OTHER.encode()))
    assert headers[b"access-control-allow-origin"] == b"*"


def test_all_that_is_told_of_addresses_leads_below_the_path_of_the_proxy(door: FrontDoor) -> None:
    made = door.client.post("/v1/jobs", json=PROMPT)
    assert made.headers["location"] == f"/darkroom/v1/jobs/{made.json()['id']}"
    batch = door.client.post("/v1/batches", json={"jobs": [PROMPT]})
    assert batch.headers["location"].startswith("/darkroom/v1/batches/")
    refused = door.client.get("/nowhere").json()
    assert refused["type"] == "/darkroom/problems/not_found"
    assert door.client.get("/openapi.json").json()["servers"] == [{"url": "/darkroom"}]
    path = f"/replicate/v1/models/{DEFAULT_MODEL}/predictions"
    predicted = door.client.post(path, json=PROMPT).json()
    assert predicted["urls"]["get"].startswith(f"{PUBLIC}/replicate/v1/predictions/")
    door.client.post(path, json=PROMPT)
    door.succeed()
    job = door.client.get("/v1/jobs", params={"status": "succeeded"}).json()["data"][0]
    assert job["image"]["url"].startswith(f"{PUBLIC}/v1/jobs/")


@pytest.mark.parametrize("page", ["/", "/docs", "/ops"])
@pytest.mark.parametrize("prefix", ["", "/darkroom"])
def test_a_page_finds_its_files_whether_the_proxy_takes_its_path_away_or_not(
    door: FrontDoor, page: str, prefix: str
) -> None:
    text = door.client.get(f"{prefix}{page}").text
    found = re.findall(r'(?:href|src)="([^"#]+)"', text)
    assert len(found) > 3
    for link in found:
        assert urljoin(f"{PUBLIC}{page}", link).startswith(f"{PUBLIC}/pages/")
        assert door.client.get(link).status_code == 200
        assert door.client.get(link.removeprefix("/darkroom")).status_code == 200


def test_a_path_given_to_the_server_itself_counts_too(redis_url: str) -> None:
    chosen = settings(redis_url, public_url=PUBLIC)
    with served(chosen, root_path="/darkroom") as url, tenant_at(url, redis_url) as door:
        assert door.client.post("/v1/jobs", json=PROMPT).status_code == 202
        answer = door.client.post("/openai/v1/images/generations", json={})
        assert "error" in answer.json()


@pytest.mark.parametrize("path", ["/ops", "/v1"])
def test_a_path_that_is_also_one_of_ours_is_only_in_front(redis_url: str, path: str) -> None:
    chosen = settings(redis_url, public_url=f"https://images.example{path}")
    with served(chosen) as url, tenant_at(url, redis_url) as door:
        assert door.client.post("/v1/jobs", json=PROMPT).headers["location"].startswith(path)


def test_a_head_names_no_length_that_its_get_does_not_have(door: FrontDoor) -> None:
    job = door.create()
    batch = door.client.post("/v1/batches", json={"jobs": [PROMPT]}).json()["id"]
    manifest = f"/v1/batches/{batch}/manifest"
    for path in (manifest, f"{manifest}?format=zip", f"/v1/jobs/{job['id']}/events"):
        answer = door.client.head(path)
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
    for path in (f"/v1/jobs/{job['id']}", "/v1/models", "/healthz", "/nowhere"):
        length = len(door.client.get(path).content)
        assert abs(int(door.client.head(path).headers["content-length"]) - length) < 30


def test_what_did_not_change_says_the_same_of_keeping_it(door: FrontDoor) -> None:
    job = door.create()
    for path in (f"/v1/jobs/{job['id']}", "/", "/docs"):
        whole = door.client.get(path)
        known = door.client.get(path, headers={"If-None-Match": whole.headers["etag"]})
        assert known.status_code == 304
        for name in ("cache-control", "etag", "vary"):
            assert known.headers[name] == whole.headers[name]
