"""What is thrown away: objects nobody owns and jobs whose time is over, on real parts."""

from collections.abc import Iterator

import pytest

from shared.errors import StorageDown
from shared.jobs import State
from shared.store import reading
from tests import lying_storage as lies
from tests.integration.conftest import Open
from tests.lying_storage import Liar, Lie, Reply, Request, lying_before
from tests.servers import S3Server
from tests.workshop import Workshop
from worker.clean import Cleaner


def cleaner(workshop: Workshop) -> Cleaner:
    return Cleaner(workshop.world.store, workshop.room.storage)


def test_a_forgotten_job_s_picture_is_deleted(workshop: Workshop) -> None:
    job = workshop.run()
    assert job.image is not None
    assert workshop.is_stored(job.image.key)

    workshop.world.forget(job.id)
    cleaner(workshop).clean()

    assert not workshop.is_stored(job.image.key)
    assert workshop.world.trash() == {}


def test_a_job_whose_time_is_over_goes_with_its_picture(workshop: Workshop) -> None:
    over, kept = workshop.run(), workshop.run()
    workshop.world.client.zadd("{dr}:expiries", {over.id: 1})

    cleaner(workshop).clean()

    assert over.image is not None
    assert kept.image is not None
    assert not workshop.is_stored(over.image.key)
    assert workshop.is_stored(kept.image.key)
    assert workshop.world.store.run(reading.read(over.id, tenant="acme")) is None


def test_what_the_storage_did_not_delete_is_deleted_when_it_is_back(workshop: Workshop) -> None:
    job = workshop.run()
    assert job.state is State.SUCCEEDED
    assert job.image is not None
    workshop.world.forget(job.id)
    workshop.s3.child.kill()

    with pytest.raises(StorageDown):
        cleaner(workshop).clean()
    assert job.image.key in workshop.world.trash()

    workshop.s3.start()
    cleaner(workshop).clean()
    assert not workshop.is_stored(job.image.key)


@pytest.fixture
def liar(s3: S3Server) -> Iterator[Liar]:
    with lying_before(s3) as liar:
        yield liar


@pytest.mark.parametrize("lie", [lies.deletes_nothing, lies.page_in_a_200, lies.error_in_a_200])
def test_what_the_storage_only_says_it_deleted_is_deleted_later(
    open_workshop: Open, liar: Liar, lie: Lie
) -> None:
    workshop = open_workshop(s3=liar.server)
    job = workshop.run()
    assert job.image is not None
    workshop.world.forget(job.id)
    liar.lie("POST", lie)

    with pytest.raises(StorageDown):
        cleaner(workshop).clean()
    assert job.image.key in workshop.world.trash()

    liar.stop_lying()
    cleaner(workshop).clean()
    assert not workshop.is_stored(job.image.key)
    assert workshop.world.trash() == {}


def test_an_object_that_may_not_be_deleted_keeps_no_other_in_the_trash(
    open_workshop: Open, liar: Liar
) -> None:
    workshop = open_workshop(s3=liar.server)
    locked, other = workshop.run(), workshop.run()
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
        workshop.world.forget(job.id)
    liar.lie("POST", refusing)

    cleaner(workshop).clean()

    assert set(workshop.world.trash()) == {key}
