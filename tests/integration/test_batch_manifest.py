"""What a batch brought, line by line and as a ZIP."""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.jobs import Image
from tests.integration.test_api_batches import accepted, ask, lines, prompts, wait_until_laid_out
from tests.support import lying_storage as lies
from tests.support.api_server import ApiServer, pointers, served, settings, tenant_at
from tests.support.lying_storage import lying_before
from tests.support.servers import S3Server


@pytest.fixture(scope="module")
def url(redis_url: str, s3: S3Server) -> Iterator[str]:
    chosen = settings(redis_url, s3_endpoint=s3.endpoint, s3_bucket=s3.bucket)
    with served(chosen) as url:
        yield url


def put(s3: S3Server, name: str, data: bytes, *, told: int | None = None) -> Image:
    """Store an image; the record tells of `told` bytes."""
    s3.client().put_object(s3.bucket, name, io.BytesIO(data), len(data))
    digest = hashlib.sha256(data).hexdigest()
    return Image(name, "image/webp", 8, 8, told or len(data), digest)


def manifest(api_server: ApiServer, batch_id: str) -> list[dict[str, Any]]:
    answer = api_server.client.get(f"/v1/batches/{batch_id}/manifest")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def batch_of(api_server: ApiServer, count: int) -> str:
    batch = accepted(ask(api_server, lines(*prompts(count))))
    wait_until_laid_out(api_server)
    return str(batch["id"])


def test_a_manifest_has_a_line_for_each_job_in_the_order_asked_for(
    api_server: ApiServer, s3: S3Server
) -> None:
    batch_id = batch_of(api_server, 120)
    api_server.succeed(put(s3, "t/a.webp", b"an image"))
    api_server.world.fail(api_server.world.claim())

    told = manifest(api_server, batch_id)

    assert [line["input"]["prompt"] for line in told] == [
        one["input"]["prompt"] for one in prompts(120)
    ]
    assert [line["status"] for line in told[:3]] == ["succeeded", "failed", "queued"]
    assert told[1]["error"]["code"] == "provider_rejected"
    job = api_server.client.get(f"/v1/jobs/{told[0]['id']}").json()
    assert told[0]["image"] == job["image"]
    assert told[2]["image"] is None
    assert set(told[0]) <= set(job)


def test_a_zip_has_the_images_and_tells_of_those_that_are_gone(
    api_server: ApiServer, s3: S3Server
) -> None:
    # given
    batch_id = batch_of(api_server, 6)
    large = bytes(range(256)) * 10_000  # is streamed elsewhere
    for image in (
        put(s3, "t/1.webp", b"first"),
        Image("t/gone.webp", "image/webp", 8, 8, 9, "0" * 64),
        put(s3, "t/3.webp", b"was cut", told=70),
        put(s3, "t/4.webp", large),
        replace(put(s3, "t/5.webp", b"damaged"), sha256="0" * 64),
    ):
        api_server.succeed(image)
    # when
    answer = api_server.client.get(f"/v1/batches/{batch_id}/manifest", params={"format": "zip"})
    # then
    assert answer.headers["content-type"] == "application/zip"
    assert f'filename="{batch_id}.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        *names, last = archive.namelist()
        told = [json.loads(line) for line in archive.read(last).splitlines()]
        kept = [archive.read(name) for name in names]
    assert last == "manifest.ndjson"
    assert kept == [b"first", large]
    assert [line["file"] for line in told] == [names[0], None, None, names[1], None, None]
    assert names == [f"{told[0]['id']}.webp", f"{told[3]['id']}.webp"]
    assert [bool(line["missing"]) for line in told] == [False, True, True, False, True, False]
    assert [line["id"] for line in told] == [line["id"] for line in manifest(api_server, batch_id)]


def read_forward(data: bytes) -> dict[str, bytes]:
    """Read the entries of a ZIP from the first byte on, as a reader of a stream has to.

    Such a reader knows where a stored entry ends by its local header only.
    """
    entries = {}
    at = 0
    while data.startswith(b"PK\x03\x04", at):
        header = struct.unpack_from("<4s5H3L2H", data, at)
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = header
        assert (flags & 0x08, method, packed) == (0, zipfile.ZIP_STORED, size)
        start = at + 30 + name_length + extra_length
        entry = data[start : start + size]
        assert zlib.crc32(entry) == crc
        entries[data[at + 30 : at + 30 + name_length].decode("ascii")] = entry
        at = start + size
    assert data.startswith(b"PK\x01\x02", at)
    return entries


def test_a_zip_is_readable_as_a_stream(api_server: ApiServer, s3: S3Server) -> None:
    batch_id = batch_of(api_server, 4)
    images = [b"first", bytes(range(256)) * 40_000, b"third"]
    for number, data in enumerate(images):
        api_server.succeed(put(s3, f"t/stream-{number}.webp", data))

    answer = api_server.client.get(f"/v1/batches/{batch_id}/manifest", params={"format": "zip"})

    *found, last = read_forward(answer.content).items()
    assert [data for _, data in found] == images
    assert last[0] == "manifest.ndjson"
    assert len(last[1].splitlines()) == 4
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [name for name, _ in [*found, last]]


def test_a_zip_lacks_what_the_storage_sends_damaged(empty_redis_url: str, s3: S3Server) -> None:
    with lying_before(s3) as liar:
        chosen = settings(empty_redis_url, s3_endpoint=liar.server.endpoint)
        with served(chosen) as url, tenant_at(url, empty_redis_url) as api_server:
            batch_id = batch_of(api_server, 2)
            for number in range(2):
                api_server.succeed(put(s3, f"t/damaged-{number}.webp", b"an image"))
            liar.lie("GET", lies.flipped)
            answer = api_server.client.get(
                f"/v1/batches/{batch_id}/manifest", params={"format": "zip"}
            )
            (only,) = read_forward(answer.content).values()
    told = [json.loads(line) for line in only.splitlines()]
    assert [line["file"] for line in told] == [None, None]
    assert {line["missing"] for line in told} == {"the storage has other bytes than were stored"}


def test_a_forgotten_job_has_no_line(api_server: ApiServer) -> None:
    batch_id = batch_of(api_server, 3)
    middle = manifest(api_server, batch_id)[1]["id"]
    api_server.client.post(f"/v1/jobs/{middle}/cancel")
    api_server.client.delete(f"/v1/jobs/{middle}")
    assert [line["input"]["prompt"] for line in manifest(api_server, batch_id)] == [
        "Lighthouse 0",
        "Lighthouse 2",
    ]


def test_the_head_of_a_manifest_is_told_without_it(api_server: ApiServer) -> None:
    batch_id = batch_of(api_server, 1)
    answer = api_server.client.head(f"/v1/batches/{batch_id}/manifest", params={"format": "zip"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/zip"


def test_an_unknown_format_is_refused(api_server: ApiServer) -> None:
    batch_id = batch_of(api_server, 1)
    answer = api_server.client.get(f"/v1/batches/{batch_id}/manifest", params={"format": "tar"})
    assert pointers(answer) == {"/query/format"}
