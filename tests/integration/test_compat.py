"""What the dialects do when answers are late, clients leave, or files go over TLS."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from replicate.client import Client
from replicate.helpers import transform_output

from sandbox.servers import free_port
from sandbox.wait import wait_until
from shared.api_keys import Scope, new_key
from shared.jobs import Image
from shared.model_catalog import DEFAULT_MODEL, load_catalog
from shared.settings import Settings
from shared.store import api_keys, keys
from shared.store.audit import AuditContext
from tests.support.api_server import ApiServer, client_of, served, settings, tenant_at
from tests.support.lying_storage import flipped, lying_before
from tests.support.servers import S3Server

IMAGES = "/openai/v1/images/generations"
BODY = {"prompt": "A lighthouse at dawn", "size": "512x512", "response_format": "url"}
RETRY = {"x-stainless-retry-count": "1"}
PUBLIC_URL = Settings().public_url


@pytest.fixture(scope="module")
def hasty(redis_url: str) -> Iterator[str]:
    """A API that holds no OpenAI client for longer than a moment."""
    with served(settings(redis_url, openai_wait_seconds=0.2)) as url:
        yield url


@pytest.fixture
def impatient_api(hasty: str, empty_redis_url: str) -> Iterator[ApiServer]:
    with tenant_at(hasty, empty_redis_url) as api_server:
        yield api_server


def jobs_of(api_server: ApiServer) -> list[dict[str, Any]]:
    return list(api_server.client.get("/v1/jobs").json()["data"])


def test_what_takes_too_long_is_named_and_a_retry_waits_on(impatient_api: ApiServer) -> None:
    api_server = impatient_api
    late = api_server.client.post(IMAGES, json=BODY)

    assert late.status_code == 504
    error = late.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "image_pending")
    assert "x-should-retry" not in late.headers
    assert error["job_ids"] == [jobs_of(api_server)[0]["id"]]
    api_server.succeed()
    joined = api_server.client.post(IMAGES, json=BODY, headers=RETRY)
    assert joined.status_code == 200
    assert error["job_ids"][0] in joined.json()["data"][0]["url"]
    assert len(jobs_of(api_server)) == 1


def test_a_retry_of_what_was_answered_or_of_another_body_is_a_new_request(
    impatient_api: ApiServer,
) -> None:
    api_server = impatient_api
    api_server.client.post(IMAGES, json=BODY)
    assert api_server.client.post(IMAGES, json={**BODY, "n": 2}, headers=RETRY).status_code == 504
    assert len(jobs_of(api_server)) == 3


def test_a_client_that_leaves_is_joined_by_its_retry(api_server: ApiServer) -> None:
    key = {"Authorization": f"Bearer {api_server.credentials.api_key}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{api_server.url}{IMAGES}", json=BODY, headers=key, timeout=0.5)
    (job,) = jobs_of(api_server)
    with ThreadPoolExecutor(1) as thread:
        retry = thread.submit(api_server.client.post, IMAGES, json=BODY, headers=RETRY)
        api_server.succeed()
        answer = retry.result(30)
    assert job["id"] in answer.json()["data"][0]["url"]
    assert len(jobs_of(api_server)) == 1


def test_a_full_queue_takes_none_of_several_and_may_be_tried_again(api_server: ApiServer) -> None:
    api_server.world.client.hset(keys.tenant(api_server.tenant), "max_queued", "3")
    waiting = api_server.create()["id"]
    answer = api_server.client.post(IMAGES, json={**BODY, "n": 3})
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.headers["retry-after"] == "5"
    assert "x-should-retry" not in answer.headers
    assert [job["id"] for job in jobs_of(api_server)] == [waiting]


def test_more_images_than_the_queue_may_have_are_refused_for_good(api_server: ApiServer) -> None:
    api_server.world.client.hset(keys.tenant(api_server.tenant), "max_queued", "2")
    answer = api_server.client.post(IMAGES, json={**BODY, "n": 3})
    assert answer.status_code == 400
    assert (
        "more jobs than the tenant may have in its queue (2)" in answer.json()["error"]["message"]
    )
    assert answer.headers["x-should-retry"] == "false"
    assert jobs_of(api_server) == []


def test_a_deleted_job_is_told(impatient_api: ApiServer) -> None:
    api_server = impatient_api
    (job_id,) = api_server.client.post(IMAGES, json={**BODY, "n": 1}).json()["error"]["job_ids"]
    api_server.client.post(f"/v1/jobs/{job_id}/cancel")
    answer = api_server.client.post(IMAGES, json={**BODY, "n": 1}, headers=RETRY)
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "false"
    assert "It was canceled." in answer.json()["error"]["message"]


@pytest.fixture
def lied_to(empty_redis_url: str, s3: S3Server) -> Iterator[ApiServer]:
    """A API whose storage damages what it sends."""
    with lying_before(s3) as liar:
        liar.lie("GET", flipped)
        chosen = settings(empty_redis_url, s3_endpoint=liar.server.endpoint)
        with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
            yield api_server


def stored_image(api_server: ApiServer, s3: S3Server) -> Image:
    image = b"an image" * 100
    key = f"{api_server.tenant}/damaged.webp"
    s3.client().put_object(s3.bucket, key, io.BytesIO(image), len(image))
    sha256 = hashlib.sha256(image).hexdigest()
    return Image(key, "image/webp", 512, 512, len(image), sha256)


def test_a_damaged_image_is_in_no_answer_to_openai_s_clients(
    lied_to: ApiServer, s3: S3Server
) -> None:
    image = stored_image(lied_to, s3)
    with ThreadPoolExecutor(1) as thread:
        body = {**BODY, "response_format": "b64_json"}
        asked = thread.submit(lied_to.client.post, IMAGES, json=body)
        wait_until(lambda: bool(jobs_of(lied_to)), "the job")
        lied_to.succeed(image)
        answer = asked.result(30)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "image_damaged"


def test_a_damaged_image_is_in_no_answer_to_replicate_s_clients(
    lied_to: ApiServer, s3: S3Server
) -> None:
    job_id = lied_to.create()["id"]
    lied_to.succeed(stored_image(lied_to, s3))
    answer = lied_to.client.get(f"/replicate/v1/predictions/{job_id}")
    assert answer.status_code == 502
    assert answer.json()["code"] == "image_damaged"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/openai/v1/images/edits"),
        ("POST", "/openai/v1/images/variations"),
        ("POST", "/openai/v1/chat/completions"),
        ("POST", "/openai/v1/responses"),
        ("POST", "/openai/v1/embeddings"),
        ("POST", "/openai/v1/audio/speech"),
        ("GET", "/openai/v1/files"),
        ("POST", "/openai/v1/moderations"),
        ("POST", "/openai/images/generations"),
        ("DELETE", f"/openai/v1/models/{DEFAULT_MODEL}"),
        ("POST", "/replicate/v1/files"),
        ("GET", "/replicate/v1/deployments"),
        ("POST", "/replicate/v1/deployments/acme/thing/predictions"),
        ("POST", f"/replicate/v1/models/{DEFAULT_MODEL}/versions/1/trainings"),
        ("GET", "/replicate/v1/collections"),
        ("GET", "/replicate/v1/hardware"),
        ("POST", "/replicate/v1/models"),
        ("POST", "/replicate/predictions"),
    ],
)
def test_an_operation_that_is_not_offered_is_told_in_the_dialect(
    api_server: ApiServer, method: str, path: str
) -> None:
    answer = api_server.client.request(method, path)
    body = answer.json()
    assert answer.status_code in {404, 405}
    if path.startswith("/openai"):
        said = body["error"]["message"]
        assert set(body["error"]) >= {"message", "type", "param", "code"}
        assert answer.headers["x-should-retry"] == "false"
    else:
        said = body["detail"]
        assert body["status"] == answer.status_code
        assert body["title"]
    assert "Darkroom generates images from prompts only" in said


@pytest.mark.parametrize(
    "path", [f"/openai/v1/models/{DEFAULT_MODEL}x", "/replicate/v1/models/nobody/nothing"]
)
def test_a_model_that_is_not_offered_is_told_with_those_that_are(
    api_server: ApiServer, path: str
) -> None:
    answer = api_server.client.get(path)
    assert answer.status_code == 404
    assert DEFAULT_MODEL in answer.text.replace(f"{DEFAULT_MODEL}x", "")


def with_scheme(api_server: ApiServer, scheme: str, path: str) -> int:
    headers = {"authorization": f"{scheme} {api_server.credentials.api_key}"}
    return httpx.get(f"{api_server.url}{path}", headers=headers).status_code


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN"])
def test_replicate_s_older_scheme_is_taken_below_its_own_paths_alone(
    api_server: ApiServer, scheme: str
) -> None:
    for path in ("/replicate/v1/account", "/replicate/v1/predictions"):
        assert with_scheme(api_server, scheme, path) == 200
    for path in ("/v1/jobs", "/openai/v1/models", "/ops/v1/me"):
        assert with_scheme(api_server, scheme, path) == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_scheme_is_read_without_its_case(api_server: ApiServer, scheme: str) -> None:
    for path in ("/replicate/v1/account", "/v1/jobs", "/openai/v1/models"):
        assert with_scheme(api_server, scheme, path) == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openai/v1/images/edits", 404),
        ("/openai/v1/models?x=1", 400),
        ("/replicate/v1/trainings", 404),
        ("/replicate/v1/predictions?cursor=x", 422),
    ],
)
def test_problems_are_told_in_the_dialect(api_server: ApiServer, path: str, status: int) -> None:
    answer = api_server.client.get(path)
    assert answer.status_code == status
    body = answer.json()
    if path.startswith("/openai"):
        assert set(body["error"]) >= {"message", "type", "param", "code"}
    else:
        assert body["status"] == status
        assert body["detail"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (IMAGES, {"code": "forbidden", "type": "permission_error"}),
        ("/replicate/v1/predictions", {"code": "forbidden", "status": 403}),
    ],
)
def test_a_key_that_only_reads_is_refused_in_the_dialect(
    api_server: ApiServer, path: str, words: dict[str, Any]
) -> None:
    key = new_key()
    scopes = [Scope.JOBS_READ]
    api_server.world.store.run(
        api_keys.add_api_key(AuditContext("test", ""), api_server.tenant, key, scopes)
    )
    with client_of(api_server.url, key.text) as reader:
        answer = reader.post(path, json=BODY)
        assert reader.get("/openai/v1/models").status_code == 200
        assert reader.get("/replicate/v1/predictions").status_code == 200
    told = answer.json()
    assert answer.status_code == 403
    assert "jobs:write" in answer.text
    assert words.items() <= told.get("error", told).items()


def test_the_rate_is_told_and_a_request_of_several_images_is_one(impatient_api: ApiServer) -> None:
    api_server = impatient_api
    api_server.world.limit(api_server.tenant, requests_per_minute=2)
    assert api_server.client.post(IMAGES, json={**BODY, "n": 3}).status_code == 504
    assert api_server.client.post(IMAGES, json={**BODY, "n": 3}, headers=RETRY).status_code == 504
    made = api_server.client.post(
        f"/replicate/v1/models/{DEFAULT_MODEL}/predictions", json={"input": {"prompt": "x"}}
    )
    assert made.headers["ratelimit"].startswith('"requests";r=0;')
    refused = api_server.client.post(IMAGES, json=BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    assert len(jobs_of(api_server)) == 4


def test_an_expired_wait_says_starting_though_the_job_runs(api_server: ApiServer) -> None:
    url = f"/replicate/v1/models/{DEFAULT_MODEL}/predictions"
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(
            api_server.client.post,
            url,
            json={"input": {"prompt": "x"}},
            headers={"Prefer": "wait=1"},
        )
        wait_until(lambda: jobs_of(api_server) != [], "the job")
        api_server.world.call(api_server.world.claim())
        answer = asked.result(30)
    assert (answer.status_code, answer.json()["status"]) == (202, "starting")
    shown = api_server.client.get(f"/replicate/v1/predictions/{answer.json()['id']}").json()
    assert shown["status"] == "processing"


def test_an_idempotency_key_is_of_the_model_that_the_path_names(api_server: ApiServer) -> None:
    first, second = list(load_catalog())[:2]
    body = {"input": {"prompt": "x"}}

    def ask(path: str) -> httpx.Response:
        return api_server.client.post(path, json=body, headers={"idempotency-key": "k"})

    made = ask(f"/replicate/v1/models/{first}/predictions")
    again = ask(f"/replicate/v1/models/{first}/predictions")
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (made.json()["id"], "true")
    for other in (f"/replicate/v1/models/{second}/predictions", "/v1/jobs"):
        refused = ask(other)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")


def test_pages_follow_each_other(api_server: ApiServer) -> None:
    made = {api_server.world.accept(api_server.tenant) for _ in range(101)}
    client = Client(
        api_token=api_server.credentials.api_key, base_url=f"{api_server.url}/replicate"
    )
    first = client.predictions.list()
    assert len(first) == 100
    assert first.next
    # it is the address by which the world reaches the service
    second = client.predictions.list(first.next.replace(PUBLIC_URL, api_server.url))
    client._client.close()
    assert {one.id for one in [*first.results, *second.results]} == made


# over TLS -------------------------------------------------------------------------------------


@pytest.fixture
def tls_api(
    empty_redis_url: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ApiServer]:
    """A API behind TLS, whose authority this process trusts while the test runs."""
    authority, port = trustme.CA(), free_port()
    issued = authority.issue_cert("localhost")
    trusted, own = tmp_path / "authority.pem", tmp_path / "own.pem"
    authority.cert_pem.write_to_path(trusted)
    issued.private_key_and_cert_chain_pem.write_to_path(own)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    url = f"https://localhost:{port}"
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, public_url=url)
    with (
        served(chosen, port, ssl_certfile=str(own)),
        tenant_at(url, empty_redis_url) as api_server,
    ):
        yield api_server


def test_files_come_over_tls_from_the_service_itself(tls_api: ApiServer, s3: S3Server) -> None:
    """The client sends its token to the address of a file, and follows no redirect."""
    api_server, image = tls_api, b"an image" * 100
    client = Client(
        api_token=api_server.credentials.api_key, base_url=f"{api_server.url}/replicate"
    )
    made = client.models.predictions.create(model=DEFAULT_MODEL, input={"prompt": "x"})
    key = f"{api_server.tenant}/{made.id}.jpg"
    s3.client().put_object(s3.bucket, key, io.BytesIO(image), len(image))
    sha256 = hashlib.sha256(image).hexdigest()
    api_server.succeed(Image(key, "image/jpeg", 512, 512, len(image), sha256))

    made.wait()
    output = transform_output(made.output, client)

    assert output[0].url.startswith(f"{api_server.url}/v1/jobs/{made.id}/image?")
    assert output[0].read() == image
    assert b"".join(output[0]) == image
    client._client.close()
