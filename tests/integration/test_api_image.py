"""The image of a job: whole, in part, known already, damaged; by key, signature or redirect."""

import hashlib
import io
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from api.image_streaming import STREAMS_OF_TENANT
from sandbox.wait import wait_until
from shared.jobs import Image
from shared.signing import ImageUrlSigner
from shared.store.audit import AuditContext
from shared.store.image_urls import read_signing_keys, rotate_signing_key
from tests.integration.test_api_wire import dial
from tests.support import lying_storage as lies
from tests.support.api_server import ApiServer, problem, served, settings, tenant_at
from tests.support.lying_storage import Liar, Lie, lying_before
from tests.support.servers import S3Server

SMALL = bytes(range(256)) * 40
LARGE = bytes(range(251)) * 40_000


@pytest.fixture(scope="module")
def url(redis_url: str, s3: S3Server) -> Iterator[str]:
    with served(settings(redis_url, s3_endpoint=s3.endpoint)) as url:
        yield url


def store_image(api_server: ApiServer, s3: S3Server, body: bytes) -> tuple[str, Image]:
    """Make a job whose image has these bytes."""
    job = api_server.create()
    sha256 = hashlib.sha256(body).hexdigest()
    key = f"{api_server.tenant}/2026/01/01/{job['id']}-1.webp"
    s3.client().put_object(s3.bucket, key, io.BytesIO(body), len(body))
    image = Image(key, "image/webp", 1344, 768, len(body), sha256)
    api_server.succeed(image)
    return job["id"], image


def path(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/image"


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_the_bytes_are_those_that_were_stored(
    api_server: ApiServer, s3: S3Server, body: bytes
) -> None:
    job_id, image = store_image(api_server, s3, body)
    answer = api_server.client.get(path(job_id))
    assert answer.status_code == 200
    assert answer.content == body
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["etag"] == f'"{image.sha256}"'
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["content-disposition"] == f'inline; filename="{job_id}.webp"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "max-age" in answer.headers["cache-control"]


def test_the_address_on_the_job_needs_no_key(api_server: ApiServer, s3: S3Server) -> None:
    job_id, _ = store_image(api_server, s3, SMALL)
    written = api_server.client.get(f"/v1/jobs/{job_id}").json()["image"]["url"]
    assert api_server.client.get(f"/v1/jobs/{job_id}").json()["image"]["url"] == written
    parts = urlsplit(written)
    answer = httpx.get(f"{api_server.url}{parts.path}?{parts.query}")
    assert answer.content == SMALL


def test_an_address_that_was_changed_opens_nothing(api_server: ApiServer, s3: S3Server) -> None:
    job_id, _ = store_image(api_server, s3, SMALL)
    other_id, _ = store_image(api_server, s3, SMALL)
    query = urlsplit(url_of(api_server, job_id)).query
    for address in (
        f"{path(other_id)}?{query}",
        f"{path(job_id)}?{query}x",
        f"{path(job_id)}?expires={int(time.time()) + 1000}&{query}",
        f"{path(job_id)}?signature=x",
    ):
        problem(httpx.get(f"{api_server.url}{address}"), 403, "signature_invalid")
    problem(httpx.get(f"{api_server.url}{path(job_id)}"), 401, "unauthenticated")


def url_of(api_server: ApiServer, job_id: str) -> str:
    """Return the path and the query of the image's URL, as the job shows them."""
    parts = urlsplit(api_server.client.get(f"/v1/jobs/{job_id}").json()["image"]["url"])
    return f"{parts.path}?{parts.query}"


def test_a_url_that_does_not_expire_may_be_kept_by_shared_caches(
    api_server: ApiServer, s3: S3Server
) -> None:
    job_id, _ = store_image(api_server, s3, SMALL)
    url = url_of(api_server, job_id)
    assert "expires" not in url
    opened = httpx.get(f"{api_server.url}{url}")
    assert opened.headers["cache-control"] == "public, max-age=86400, immutable"
    with_key = api_server.client.get(path(job_id))
    assert with_key.headers["cache-control"] == "private, max-age=86400, immutable"


def test_a_url_expires_where_the_operator_wants_it_to(empty_redis_url: str, s3: S3Server) -> None:
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, image_url_seconds=3600)
    with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
        job_id, _ = store_image(api_server, s3, SMALL)
        signed = url_of(api_server, job_id)
        assert signed == url_of(api_server, job_id)
        expires = int(signed.partition("expires=")[2].partition("&")[0])
        assert expires - time.time() + 1 >= 3600
        assert expires - time.time() <= 7200

        opened = httpx.get(f"{url}{signed}")

        assert opened.content == SMALL
        assert "max-age=7200" not in opened.headers["cache-control"]
        signer = ImageUrlSigner(1, api_server.world.store.run(read_signing_keys()))
        past = signer.query(job_id, now_seconds=time.time() - 100)
        problem(httpx.get(f"{url}{path(job_id)}?{past}"), 403, "signature_invalid")


def read_known(api_server: ApiServer, job_id: str, **query: int) -> httpx.Response:
    """Read a job again, as a cache does that has its present version."""
    one = f"/v1/jobs/{job_id}"
    etag = api_server.client.get(one).headers["etag"]
    again = api_server.client.get(one, params=query, headers={"if-none-match": etag})
    assert again.headers["etag"] == etag
    return again


def test_a_client_that_knows_a_job_gets_its_present_url_where_urls_expire(
    empty_redis_url: str, s3: S3Server
) -> None:
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, image_url_seconds=2)
    with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
        job_id, _ = store_image(api_server, s3, SMALL)
        had = url_of(api_server, job_id)
        wait_until(lambda: httpx.get(f"{url}{had}").status_code == 403, "the end of the URL")

        signed = urlsplit(read_known(api_server, job_id).json()["image"]["url"])

        assert httpx.get(f"{url}{signed.path}?{signed.query}").status_code == 200
        assert read_known(api_server, job_id, wait=1).elapsed.total_seconds() > 0.9  # held
        without_image = api_server.create()["id"]
        assert read_known(api_server, without_image).status_code == 304


@pytest.mark.parametrize("overlap_seconds", [0, 60])
def test_a_client_that_knows_a_job_gets_its_present_url_after_a_rotation(
    empty_redis_url: str, s3: S3Server, overlap_seconds: int
) -> None:
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint)
    with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
        job_id, _ = store_image(api_server, s3, SMALL)
        had = url_of(api_server, job_id)
        assert read_known(api_server, job_id).status_code == 304
        rotation = rotate_signing_key(AuditContext("test", ""), overlap_seconds=overlap_seconds)
        api_server.world.store.run(rotation)
        wait_until(lambda: url_of(api_server, job_id) != had, "the new URL")
        wait_until(lambda: read_known(api_server, job_id).status_code == 200, "the whole job")


def test_a_rotated_key_opens_earlier_urls_for_the_overlap_and_no_longer(
    api_server: ApiServer, s3: S3Server
) -> None:
    job_id, _ = store_image(api_server, s3, SMALL)
    run = api_server.world.store.run

    def signed_with_the_stored_key() -> bool:
        """Another API of this module may have stored its key in the empty Redis first."""
        signing_keys = run(read_signing_keys())
        signer = ImageUrlSigner(0, signing_keys)
        return bool(signing_keys) and url_of(api_server, job_id).endswith(
            signer.query(job_id, now_seconds=0)
        )

    wait_until(signed_with_the_stored_key, "the key of the API in an empty Redis")
    first = url_of(api_server, job_id)

    def status(url: str) -> int:
        return httpx.get(f"{api_server.url}{url}").status_code

    run(rotate_signing_key(AuditContext("test", ""), overlap_seconds=60))
    wait_until(lambda: url_of(api_server, job_id) != first, "the new URL")
    second = url_of(api_server, job_id)
    assert (status(first), status(second)) == (200, 200)

    run(rotate_signing_key(AuditContext("test", ""), overlap_seconds=0))
    wait_until(lambda: status(second) == 403, "the end of the second URL")
    assert status(first) == 403
    assert status(url_of(api_server, job_id)) == 200


def test_image_urls_lead_to_a_cdn_where_there_is_one(empty_redis_url: str, s3: S3Server) -> None:
    base = "https://cdn.example/darkroom"
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, image_base_url=f"{base}/")
    with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
        job_id, _ = store_image(api_server, s3, SMALL)

        written = api_server.client.get(f"/v1/jobs/{job_id}").json()["image"]["url"]
        predicted = api_server.client.get(f"/replicate/v1/predictions/{job_id}").json()

        assert written.startswith(f"{base}/v1/jobs/{job_id}/image?signature=")
        assert httpx.get(written.replace(base, url)).content == SMALL
        assert predicted["output"] == [written]
        assert predicted["urls"]["get"].startswith(f"{chosen.public_url}/replicate/v1/")


def test_image_urls_name_the_object_of_a_public_bucket(empty_redis_url: str, s3: S3Server) -> None:
    base = "https://images.example/{key}"
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, image_base_url=base)
    with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
        job_id, stored = store_image(api_server, s3, SMALL)

        image = api_server.client.get(f"/v1/jobs/{job_id}").json()["image"]
        predicted = api_server.client.get(f"/replicate/v1/predictions/{job_id}").json()

        assert image["url"] == f"https://images.example/{stored.key}"
        assert predicted["output"] == [image["url"]]
        # the preview is the service's own
        assert image["preview_url"].startswith(f"{chosen.public_url}/v1/jobs/{job_id}/image?")
        assert image["preview_url"].endswith("&size=preview")
        signed = image["preview_url"].removesuffix("&size=preview").replace(chosen.public_url, url)
        assert httpx.get(signed).content == SMALL


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=100-199", slice(100, 200)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=5000-", slice(5000, None)),
    ],
)
def test_a_range_is_given(
    api_server: ApiServer, s3: S3Server, body: bytes, written: str, part: slice
) -> None:
    job_id, _ = store_image(api_server, s3, body)
    answer = api_server.client.get(path(job_id), headers={"range": written})
    assert answer.status_code == 206
    assert answer.content == body[part]
    start, stop, _ = part.indices(len(body))
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(body)}"


def test_a_range_outside_the_image_is_refused(api_server: ApiServer, s3: S3Server) -> None:
    job_id, _ = store_image(api_server, s3, SMALL)
    answer = api_server.client.get(path(job_id), headers={"range": f"bytes={len(SMALL)}-"})
    problem(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(SMALL)}"


def test_a_range_of_another_image_gives_the_whole(api_server: ApiServer, s3: S3Server) -> None:
    job_id, image = store_image(api_server, s3, SMALL)
    headers = {"range": "bytes=0-9", "if-range": '"other"'}
    assert api_server.client.get(path(job_id), headers=headers).status_code == 200
    headers["if-range"] = f'"{image.sha256}"'
    assert api_server.client.get(path(job_id), headers=headers).status_code == 206


def test_a_known_image_is_not_sent_again(api_server: ApiServer, s3: S3Server) -> None:
    job_id, image = store_image(api_server, s3, SMALL)
    answer = api_server.client.get(path(job_id), headers={"if-none-match": f'"{image.sha256}"'})
    assert answer.status_code == 304
    assert answer.content == b""


def test_head_tells_the_size_without_asking_the_storage(
    api_server: ApiServer, s3: S3Server
) -> None:
    job_id, _ = store_image(api_server, s3, LARGE)
    answer = api_server.client.head(path(job_id))
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(LARGE))
    assert answer.content == b""


def test_a_redirect_leads_to_the_storage(api_server: ApiServer, s3: S3Server) -> None:
    job_id, _ = store_image(api_server, s3, SMALL)
    answer = api_server.client.get(f"{path(job_id)}?redirect=1")
    assert answer.status_code == 302
    assert urlsplit(answer.headers["location"]).netloc == s3.endpoint
    assert httpx.get(answer.headers["location"]).content == SMALL


def test_a_redirect_leads_to_the_address_at_which_clients_reach_the_storage(
    empty_redis_url: str, s3: S3Server
) -> None:
    public = f"localhost:{s3.endpoint.rpartition(':')[2]}"
    chosen = settings(empty_redis_url, s3_endpoint=s3.endpoint, s3_public_endpoint=public)
    with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
        job_id, _ = store_image(api_server, s3, SMALL)
        location = api_server.client.get(f"{path(job_id)}?redirect=1").headers["location"]

    assert location.startswith(f"http://{public}/")
    assert httpx.get(location).content == SMALL  # the signature covers the host


def test_a_job_without_an_image_says_whether_one_may_come(api_server: ApiServer) -> None:
    job = api_server.create()
    problem(api_server.client.get(path(job["id"])), 409, "image_not_ready")
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    problem(api_server.client.get(path(job["id"])), 404, "no_image")


def test_an_image_that_the_storage_lost_is_not_there(api_server: ApiServer, s3: S3Server) -> None:
    job = api_server.create()
    api_server.succeed(Image("nobody/has/it.webp", "image/webp", 1, 1, 10, "0" * 64))
    problem(api_server.client.get(path(job["id"])), 404, "image_missing")


def test_clients_that_leave_do_not_keep_the_storage_busy(
    api_server: ApiServer, s3: S3Server
) -> None:
    job_id, _ = store_image(api_server, s3, LARGE)
    for _ in range(3 * STREAMS_OF_TENANT):
        with api_server.client.stream("GET", path(job_id)) as answer:
            assert next(answer.iter_raw(1000))
    assert api_server.client.get(path(job_id)).content == LARGE


@pytest.fixture
def slow_readers(url: str, empty_redis_url: str, s3: S3Server) -> Iterator[ApiServer]:
    """A tenant whose large image is being read by as many clients as may, none of which goes on."""
    with ExitStack() as stack:
        api_server = stack.enter_context(tenant_at(url, empty_redis_url))
        signed = url_of(api_server, store_image(api_server, s3, LARGE)[0])
        for _ in range(STREAMS_OF_TENANT):
            slow = stack.enter_context(dial(url))
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(f"GET {signed} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert slow.recv(1)  # its response has started
        yield api_server


def test_slow_clients_of_one_tenant_keep_no_other_from_its_images(
    slow_readers: ApiServer, empty_redis_url: str, s3: S3Server
) -> None:
    with tenant_at(slow_readers.url, empty_redis_url) as other:
        # one worker for both: the claims of two would have the same names
        job_id, _ = store_image(replace(other, world=slow_readers.world), s3, LARGE)
        assert other.client.get(path(job_id), timeout=10).content == LARGE


def test_slow_clients_of_a_tenant_do_not_make_it_pay_for_an_image_that_is_there(
    slow_readers: ApiServer,
) -> None:
    (source,) = slow_readers.client.get("/v1/jobs").json()["data"]
    again = slow_readers.create(input=source["input"], reuse=True)
    assert again["reused_from"] == source["id"]


def test_a_storage_that_is_away_is_told(empty_redis_url: str) -> None:
    away = settings(empty_redis_url, s3_endpoint="127.0.0.1:9", storage_timeout_seconds=2)
    with served(away) as url, tenant_at(url, empty_redis_url) as api_server:
        job = api_server.create()
        api_server.succeed(Image("k.webp", "image/webp", 1, 1, 10, "0" * 64))
        answer = api_server.client.get(path(job["id"]))
    problem(answer, 503, "storage_down")
    assert int(answer.headers["retry-after"]) > 0


# a storage that sends other bytes than were stored ------------------------------------------------

BY_DAMAGE = pytest.mark.parametrize("lie", lies.DAMAGES)


@pytest.fixture(scope="module")
def liar(s3: S3Server) -> Iterator[Liar]:
    with lying_before(s3) as liar:
        yield liar


@pytest.fixture(scope="module")
def lied_to_url(redis_url: str, liar: Liar) -> Iterator[str]:
    chosen = settings(redis_url, s3_endpoint=liar.server.endpoint, storage_timeout_seconds=2)
    with served(chosen) as url:
        yield url


@pytest.fixture
def lied_to(lied_to_url: str, empty_redis_url: str, liar: Liar) -> Iterator[ApiServer]:
    liar.stop_lying()
    liar.requests.clear()
    with tenant_at(lied_to_url, empty_redis_url) as api_server:
        yield api_server


@BY_DAMAGE
@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-9"}], ids=["whole", "range"])
def test_a_damaged_image_is_not_given(
    lied_to: ApiServer, s3: S3Server, liar: Liar, lie: Lie, headers: dict[str, str]
) -> None:
    job_id, _ = store_image(lied_to, s3, SMALL)
    liar.lie("GET", lie)

    answer = lied_to.client.get(path(job_id), headers=headers)

    problem(answer, 502, "image_damaged")
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert len(liar.requests) == 2


def test_an_image_that_was_damaged_on_its_way_is_read_once_more(
    lied_to: ApiServer, s3: S3Server, liar: Liar
) -> None:
    job_id, _ = store_image(lied_to, s3, SMALL)
    before = read_errors(lied_to)
    liar.lie("GET", lies.flipped, times=1)

    assert lied_to.client.get(path(job_id)).content == SMALL
    assert read_errors(lied_to) == before + 1


@BY_DAMAGE
@pytest.mark.parametrize("headers", [{}, {"range": "bytes=5000-"}], ids=["whole", "range"])
def test_a_large_image_that_is_damaged_never_comes_to_its_end(
    lied_to: ApiServer, s3: S3Server, liar: Liar, lie: Lie, headers: dict[str, str]
) -> None:
    job_id, _ = store_image(lied_to, s3, LARGE)
    before = read_errors(lied_to)
    liar.lie("GET", lie)

    assert not came_whole(lied_to, job_id, headers)
    assert read_errors(lied_to) == before + 1


@BY_DAMAGE
def test_a_short_range_of_a_large_image_is_given_after_all_of_it_was_checked(
    lied_to: ApiServer, s3: S3Server, liar: Liar, lie: Lie
) -> None:
    job_id, _ = store_image(lied_to, s3, LARGE)
    headers = {"range": "bytes=100-199"}
    assert lied_to.client.get(path(job_id), headers=headers).content == LARGE[100:200]
    liar.lie("GET", lie)

    problem(lied_to.client.get(path(job_id), headers=headers), 502, "image_damaged")


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_storage_that_hangs_half_way_is_left(
    lied_to: ApiServer, s3: S3Server, liar: Liar, body: bytes
) -> None:
    job_id, _ = store_image(lied_to, s3, body)
    liar.lie("GET", lies.hanging)

    assert not came_whole(lied_to, job_id, {})

    liar.stop_lying()
    assert lied_to.client.get(path(job_id)).content == body


def came_whole(api_server: ApiServer, job_id: str, headers: dict[str, str]) -> bool:
    try:
        answer = api_server.client.get(path(job_id), headers=headers)
    except httpx.TransportError:
        return False
    return answer.is_success


def read_errors(api_server: ApiServer) -> float:
    name = 'darkroom_storage_errors_total{operation="read"}'
    lines = api_server.client.get("/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
