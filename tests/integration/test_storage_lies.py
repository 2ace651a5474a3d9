"""A storage that answers well and has kept, or sends, something else."""

import hashlib
import random
from collections.abc import Iterator

import pytest

from shared.errors import ObjectDamaged, ObjectMissing, StorageDown
from shared.storage.client import Bucket, Storage
from tests.support import lying_storage as lies
from tests.support.lying_storage import Liar, Lie, lying_before
from tests.support.servers import S3Server

DATA = random.Random(3).randbytes(200_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = "acme/2026/03/27/lies-1.webp"


@pytest.fixture
def liar(s3: S3Server) -> Iterator[Liar]:
    s3.client().remove_object(s3.bucket, KEY)
    with lying_before(s3) as liar:
        yield liar


def open_storage(liar: Liar, *, read_back: bool = False) -> Storage:
    s3 = liar.server
    bucket = Bucket(s3.endpoint, s3.bucket, s3.access_key, s3.secret_key)
    return Storage(bucket, concurrency=2, timeout_seconds=3, read_back=read_back)


@pytest.fixture
def storage(liar: Liar) -> Iterator[Storage]:
    opened = open_storage(liar)
    yield opened
    opened.close()


def put(storage: Storage) -> None:
    storage.put(KEY, DATA, content_type="image/webp", sha256=SHA256, job_id="job-1")


def read(storage: Storage) -> bytes:
    return storage.read_all(KEY, size=len(DATA), sha256=SHA256)


def methods(liar: Liar) -> list[str]:
    return [request.partition(" ")[0] for request in liar.requests]


@pytest.mark.parametrize(
    "lie",
    [
        lies.keeps_nothing,
        lies.keeps_half,
        lies.keeps_half_without_etag,
        lies.keeps_other_bytes,
        lies.keeps_other_bytes_without_etag,
        lies.damaged_on_the_way,
        lies.wrong_etag,
        lies.error_in_a_200,
        lies.error_with_a_true_etag,
        lies.page_in_a_200,
    ],
)
def test_what_the_storage_did_not_keep_whole_is_not_stored(
    liar: Liar, storage: Storage, lie: Lie
) -> None:
    liar.lie("PUT", lie)

    with pytest.raises(StorageDown):
        put(storage)

    liar.stop_lying()
    put(storage)
    assert read(storage) == DATA


def test_bytes_damaged_on_the_way_are_not_kept(liar: Liar, storage: Storage) -> None:
    liar.lie("PUT", lies.damaged_on_the_way)

    with pytest.raises(StorageDown):
        put(storage)

    assert not storage.is_there(KEY)


@pytest.mark.parametrize("lie", [lies.weak_etag, lies.upper_etag, lies.bare_etag])
def test_the_etag_is_read_however_it_is_written(liar: Liar, storage: Storage, lie: Lie) -> None:
    liar.lie("PUT", lie)

    put(storage)

    assert methods(liar) == ["PUT"]


@pytest.mark.parametrize("lie", [lies.no_etag, lies.etag_of_parts, lies.etag_under_a_key_service])
def test_without_an_md5_in_the_answer_the_length_is_asked_for(
    liar: Liar, storage: Storage, lie: Lie
) -> None:
    liar.lie("PUT", lie)

    put(storage)
    assert methods(liar) == ["PUT", "HEAD"]

    liar.lie("HEAD", lies.length_of_another)
    with pytest.raises(StorageDown):
        put(storage)


def test_what_is_kept_under_a_true_etag_only_is_found_by_reading_it_back(liar: Liar) -> None:
    storage = open_storage(liar, read_back=True)
    put(storage)
    assert methods(liar) == ["PUT", "GET"]

    liar.lie("GET", lies.flipped, times=1)
    with pytest.raises(StorageDown):
        put(storage)
    storage.delete([KEY])
    liar.lie("PUT", lies.keeps_nothing_under_the_true_etag)
    with pytest.raises(StorageDown):
        put(storage)
    storage.close()


@pytest.mark.parametrize("lie", lies.DAMAGES)
def test_damaged_bytes_are_not_taken_for_the_object(liar: Liar, storage: Storage, lie: Lie) -> None:
    put(storage)
    liar.lie("GET", lie, times=1)

    with pytest.raises(ObjectDamaged):
        read(storage)

    assert read(storage) == DATA


def test_a_read_that_stops_half_way_is_no_damage(liar: Liar, storage: Storage) -> None:
    put(storage)
    liar.lie("GET", lies.hanging)

    with pytest.raises(StorageDown):
        read(storage)


def test_a_put_that_names_a_missing_object_is_a_storage_error(liar: Liar, storage: Storage) -> None:
    missing = lies.Reply(
        404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>"
    )
    liar.lie("PUT", lambda request, s3: missing)

    with pytest.raises(StorageDown):
        put(storage)
    with pytest.raises(ObjectMissing):
        read(storage)


def test_an_object_that_may_not_be_deleted_is_named_and_the_others_go(
    liar: Liar, storage: Storage
) -> None:
    put(storage)
    answer = (
        b"<DeleteResult><Error><Key>acme/locked</Key><Code>AccessDenied</Code></Error>"
        b"</DeleteResult>"
    )
    reply = lies.Reply(200, {"Content-Type": "application/xml"}, answer)
    liar.lie("POST", lambda request, s3: reply, times=1)

    assert storage.delete([KEY, "acme/locked"]) == ["acme/locked"]

    liar.lie("POST", lies.error_in_a_200, times=1)
    with pytest.raises(StorageDown):
        storage.delete([KEY])
    assert storage.is_there(KEY)
    assert storage.delete([KEY]) == []
    assert not storage.is_there(KEY)
