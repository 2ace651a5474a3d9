import base64
import hashlib
import random
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import httpx
import pytest

from sandbox.servers import free_port
from shared.errors import ObjectMissing, StorageDown
from shared.net.sockets import Egress
from shared.storage.client import Bucket, ObjectStore, Storage
from shared.storage.object_names import object_name
from tests.integration.loopback import (
    OK,
    Script,
    answering,
    dripping,
    read_request,
    serving,
    silent,
)
from tests.integration.rclone import ACCESS_KEY, bucket, counting, running_rclone
from tests.support.tls import TLS

DATA = random.Random(2).randbytes(300_000)
KEY = "acme/2026/03/27/job-1.webp"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("s3") / "served"
    directory.mkdir()
    with running_rclone(directory) as started:
        yield started


@pytest.fixture
def storage(port: int) -> Iterator[Storage]:
    built = Storage(bucket(port), concurrency=4, timeout_seconds=10)
    yield built
    built.close()


def put(storage: ObjectStore, key: str = KEY, data: bytes = DATA) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    storage.put(key, data, content_type="image/webp", sha256=sha256, job_id="job-1")


def content(storage: ObjectStore, key: str = KEY) -> bytes:
    return b"".join(storage.read(key))


@pytest.mark.parametrize("size", [300_000, 12_000_000])
def test_storing_an_image_is_one_put_and_nothing_else(port: int, size: int) -> None:
    requests: list[str] = []
    data = DATA * (size // len(DATA))

    with counting(port, requests) as shown:
        storage = Storage(bucket(shown), concurrency=2, timeout_seconds=10)
        put(storage, data=data)
        storage.close()

    assert requests == [f"PUT /images/{KEY}"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_put_is_signed_with_the_known_checksum_and_names_its_md5(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext], *, secure: bool
) -> None:
    ours, theirs = certificates
    heads: list[str] = []
    md5 = hashlib.md5(DATA, usedforsecurity=False)

    def storing(connection: socket.socket, _: Event) -> None:
        heads.append(read_request(connection).partition(b"\r\n\r\n")[0].decode())
        connection.sendall(OK + f"ETag: {md5.hexdigest()}\r\nContent-Length: 0\r\n\r\n".encode())

    with serving(storing, tls=theirs if secure else None) as port:
        place = Bucket(f"localhost:{port}", "images", ACCESS_KEY, "s" * 40, secure=secure)
        storage = Storage(place, concurrency=1, timeout_seconds=5, egress=Egress(tls=ours))
        # of other bytes, which shows that it is not computed again
        storage.put(KEY, DATA, content_type="image/webp", sha256="0" * 64, job_id="job-1")
        storage.close()

    [head] = heads
    assert f"x-amz-content-sha256: {'0' * 64}" in head
    assert f"Content-MD5: {base64.b64encode(md5.digest()).decode()}" in head
    assert "SignedHeaders=content-md5;content-type;host;x-amz-content-sha256;" in head


def test_what_was_stored_is_read_back(storage: Storage) -> None:
    put(storage)

    with storage.read(KEY) as opened:
        assert b"".join(opened) == DATA


def test_storing_again_writes_over(storage: Storage) -> None:
    put(storage, data=b"older")
    put(storage)

    assert content(storage) == DATA


def test_deleting_is_done_in_bulk_and_minds_nothing_that_is_gone(port: int) -> None:
    requests: list[str] = []
    with counting(port, requests) as shown:
        storage = Storage(bucket(shown), concurrency=2, timeout_seconds=10)
        put(storage, "a/1")
        put(storage, "a/2")
        requests.clear()

        storage.delete(["a/1", "a/2", "a/never"])

        assert len(requests) == 1
        for key in ("a/1", "a/2"):
            with pytest.raises(ObjectMissing):
                storage.read(key)
        storage.close()


def test_an_object_that_is_not_there_is_missing(storage: Storage) -> None:
    with pytest.raises(ObjectMissing):
        storage.read("acme/never.webp")


def test_a_signed_address_serves_the_image_under_its_name(storage: Storage) -> None:
    put(storage)

    url = storage.presign(KEY, seconds=60, content_type="image/webp", filename="heron.webp")

    with httpx.Client(trust_env=False, verify=TLS) as client:
        got = client.get(url)
        tampered = client.get(url.replace("heron", "crane"))
    assert got.content == DATA
    assert got.headers["content-type"] == "image/webp"
    assert got.headers["content-disposition"] == 'inline; filename="heron.webp"'
    assert tampered.status_code == 403


def test_readers_that_stop_early_give_their_connections_back(port: int) -> None:
    storage = Storage(bucket(port), concurrency=1, timeout_seconds=2)
    put(storage)

    for _ in range(3):
        with storage.read(KEY) as opened:
            next(iter(opened))
        with storage.read(KEY):
            pass

    assert content(storage) == DATA
    storage.close()


def test_many_threads_store_at_once(storage: Storage) -> None:
    together = Barrier(8)

    def store(number: int) -> bytes:
        together.wait(5)
        put(storage, f"acme/{number}")
        return content(storage, f"acme/{number}")

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(store, range(8))) == {DATA}


def test_a_check_tells_what_is_wrong(port: int) -> None:
    def check(place: Bucket) -> None:
        storage = Storage(place, concurrency=1, timeout_seconds=2)
        storage.check()
        storage.close()

    check(bucket(port))
    with pytest.raises(StorageDown, match="has no bucket another"):
        check(bucket(port, name="another"))
    with pytest.raises(StorageDown, match="refuses our credentials"):
        check(bucket(port, secret_key="wrong" * 8))
    with pytest.raises(StorageDown, match="cannot be reached"):
        check(bucket(free_port()))


def test_wrong_credentials_are_told_by_every_operation(port: int) -> None:
    storage = Storage(bucket(port, secret_key="wrong" * 8), concurrency=1, timeout_seconds=5)

    with pytest.raises(StorageDown, match="refuses our credentials"):
        put(storage)
    with pytest.raises(StorageDown, match="refuses our credentials"):
        storage.read(KEY)
    storage.close()


@pytest.mark.parametrize(
    "script",
    [
        silent,
        dripping(b"", b"H"),
        dripping(OK, b"X-Drip: 1\r\n"),
        dripping(OK + b"Content-Length: 100000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n", b"x"),
    ],
    ids=["silence", "status", "headers", "body", "error body"],
)
def test_a_storage_that_drips_is_left_when_the_total_is_over(script: Script) -> None:
    with serving(script) as port:
        storage = Storage(bucket(port), concurrency=1, timeout_seconds=0.5)
        started_at = time.monotonic()

        with pytest.raises(StorageDown):
            put(storage)

        assert time.monotonic() - started_at < 10
        storage.close()


def test_a_read_that_drips_is_left_when_the_total_is_over() -> None:
    with serving(dripping(OK + b"Content-Length: 100000\r\n\r\n", b"x")) as port:
        storage = Storage(bucket(port), concurrency=1, timeout_seconds=0.5)
        started_at = time.monotonic()

        with pytest.raises(StorageDown):
            content(storage)

        assert time.monotonic() - started_at < 10
        storage.close()


def test_a_storage_under_tls_that_drips_is_left_too(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = certificates
    with serving(dripping(OK, b"X-Drip: 1\r\n"), tls=theirs) as port:
        place = Bucket(f"localhost:{port}", "images", ACCESS_KEY, "s" * 40, secure=True)
        storage = Storage(place, concurrency=1, timeout_seconds=0.5, egress=Egress(tls=ours))
        started_at = time.monotonic()

        with pytest.raises(StorageDown):
            put(storage)

        assert time.monotonic() - started_at < 10
        storage.close()


def test_waiting_for_a_free_connection_is_bounded() -> None:
    with serving(silent) as port:
        storage = Storage(bucket(port), concurrency=1, timeout_seconds=0.5)
        started_at = time.monotonic()

        def fail(_: int) -> None:
            with pytest.raises(StorageDown):
                put(storage)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(fail, range(4)))

        assert time.monotonic() - started_at < 10
        storage.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 500 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 403 No\r\nContent-Type: application/xml\r\nContent-Length: 4\r\n\r\n<cut",
        b"HTTP/1.1 307 No\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["closed", "no HTTP", "503", "web page", "noise", "broken XML", "redirect"],
)
def test_whatever_a_broken_storage_says_it_is_down(reply: bytes) -> None:
    with serving(answering(reply)) as port:
        storage = Storage(bucket(port), concurrency=1, timeout_seconds=5)
        with pytest.raises(StorageDown):
            put(storage)
        with pytest.raises(StorageDown):
            storage.check()
        with pytest.raises(StorageDown):
            storage.read(KEY)
        with pytest.raises(StorageDown):
            storage.delete([KEY])
        storage.close()


def test_an_object_is_named_for_its_job_and_day() -> None:
    at = 1_774_569_599_999

    assert object_name("acme", "job", created_at_ms=at, call=2) == "acme/2026/03/26/job-2"
