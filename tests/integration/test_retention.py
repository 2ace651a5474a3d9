"""What is thrown away: objects nobody owns and jobs whose time is over, on real parts."""

from collections.abc import Iterator

import pytest

from shared.errors import StorageDown
from shared.jobs import State
from shared.storage.object_names import preview_key
from shared.store import job_queries, keys
from tests.integration.conftest import Open
from tests.support import lying_storage as lies
from tests.support.lying_storage import Liar, Lie, Reply, Request, lying_before
from tests.support.servers import S3Server
from tests.support.worker_harness import WorkerHarness
from worker.retention import RetentionCleaner


def cleaner(harness: WorkerHarness) -> RetentionCleaner:
    return RetentionCleaner(harness.world.store, harness.context.storage)


def test_a_forgotten_job_s_image_is_deleted(harness: WorkerHarness) -> None:
    job = harness.run()
    assert job.image is not None
    assert harness.is_stored(job.image.key)

    harness.world.delete_job(job.id)
    cleaner(harness).clean()

    assert not harness.is_stored(job.image.key)
    assert harness.world.object_deletions() == {}


def test_a_job_whose_time_is_over_goes_with_its_image(harness: WorkerHarness) -> None:
    over, kept = harness.run(), harness.run()
    harness.world.client.zadd(keys.expiries(), {over.id: 1})

    cleaner(harness).clean()

    assert over.image is not None
    assert kept.image is not None
    assert not harness.is_stored(over.image.key)
    assert harness.is_stored(kept.image.key)
    assert harness.world.store.run(job_queries.read_job(over.id, tenant="acme")) is None


def test_what_the_storage_did_not_delete_is_deleted_when_it_is_back(harness: WorkerHarness) -> None:
    job = harness.run()
    assert job.state is State.SUCCEEDED
    assert job.image is not None
    harness.world.delete_job(job.id)
    harness.s3.child.kill()

    with pytest.raises(StorageDown):
        cleaner(harness).clean()
    assert job.image.key in harness.world.object_deletions()

    harness.s3.start()
    cleaner(harness).clean()
    assert not harness.is_stored(job.image.key)


@pytest.fixture
def liar(s3: S3Server) -> Iterator[Liar]:
    with lying_before(s3) as liar:
        yield liar


@pytest.mark.parametrize("lie", [lies.deletes_nothing, lies.page_in_a_200, lies.error_in_a_200])
def test_what_the_storage_only_says_it_deleted_is_deleted_later(
    open_harness: Open, liar: Liar, lie: Lie
) -> None:
    harness = open_harness(s3=liar.server)
    job = harness.run()
    assert job.image is not None
    harness.world.delete_job(job.id)
    liar.lie("POST", lie)

    with pytest.raises(StorageDown):
        cleaner(harness).clean()
    assert job.image.key in harness.world.object_deletions()

    liar.stop_lying()
    cleaner(harness).clean()
    assert not harness.is_stored(job.image.key)
    assert harness.world.object_deletions() == {}


def test_an_object_that_may_not_be_deleted_keeps_no_other_in_the_trash(
    open_harness: Open, liar: Liar
) -> None:
    harness = open_harness(s3=liar.server)
    locked, other = harness.run(), harness.run()
    assert locked.image is not None
    assert other.image is not None
    key = locked.image.key

    def refusing(request: Request, s3: S3Server) -> Reply:
        s3.client().remove_object(s3.bucket, other.image.key if other.image else "")
        error = f"<Error><Key>{key}</Key><Code>AccessDenied</Code></Error>".encode()
        return Reply(
            200,
            {"Content-Type": "application/xml"},
            b"<DeleteResult>%b</DeleteResult>" % error,
        )

    for job in (locked, other):
        harness.world.delete_job(job.id)
    liar.lie("POST", refusing)

    cleaner(harness).clean()

    assert set(harness.world.object_deletions()) == {key}


def test_objects_that_may_not_be_deleted_do_not_delay_others(
    open_harness: Open, liar: Liar
) -> None:
    harness = open_harness(s3=liar.server)
    locked, other = harness.run(), harness.run()
    assert locked.image is not None
    key = locked.image.key

    def refusing(request: Request, s3: S3Server) -> Reply:
        if key.encode() not in request.body:
            return lies.passed_on(request, s3)
        error = f"<Error><Key>{key}</Key><Code>AccessDenied</Code></Error>".encode()
        return Reply(
            200, {"Content-Type": "application/xml"}, b"<DeleteResult>%b</DeleteResult>" % error
        )

    for job in (locked, other):
        harness.world.delete_job(job.id)
        harness.world.pass_a_millisecond()
    liar.lie("POST", refusing)
    one_by_one = RetentionCleaner(harness.world.store, harness.context.storage, most_objects=1)
    for _ in range(2):
        one_by_one.clean()

    assert set(harness.world.object_deletions()) == {key}


def test_an_image_stays_scheduled_until_its_preview_is_deleted_too(
    open_harness: Open, liar: Liar
) -> None:
    harness = open_harness(s3=liar.server)
    job = harness.run()
    assert job.image is not None
    preview = preview_key(job.image.key)
    storage = harness.context.storage
    storage.put(preview, b"small", content_type="image/webp", sha256="0" * 64, job_id=job.id)

    def refusing(request: Request, s3: S3Server) -> Reply:
        assert request.body.count(b"<Key>") == 2
        error = f"<Error><Key>{preview}</Key><Code>AccessDenied</Code></Error>".encode()
        s3.client().remove_object(s3.bucket, job.image.key if job.image else "")
        return Reply(
            200, {"Content-Type": "application/xml"}, b"<DeleteResult>%b</DeleteResult>" % error
        )

    harness.world.delete_job(job.id)
    liar.lie("POST", refusing, times=1)

    cleaner(harness).clean()
    assert set(harness.world.object_deletions()) == {job.image.key}
    assert harness.is_stored(preview)

    harness.world.client.zadd(keys.object_deletions(), {job.image.key: 1})
    cleaner(harness).clean()
    assert not harness.is_stored(preview)
    assert harness.world.object_deletions() == {}
