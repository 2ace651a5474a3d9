"""What is thrown away: objects nobody owns and jobs whose time is over, on real parts."""

import pytest

from shared.errors import StorageDown
from shared.jobs import State
from shared.store import reading
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
