"""How long jobs are kept with a history, and without one."""

import pytest
from sqlalchemy import update

from shared.history.tables import jobs
from shared.jobs import Retention
from shared.store import (
    keys,
    maintenance,
)
from shared.store.codec import request_hash
from tests.support.archive import finished, live, restore
from tests.support.history import HistoryWorld
from tests.support.store import IMAGE, World


def test_records_and_images_are_kept_as_long_as_the_settings_say(
    empty_redis_url: str, history_url: str
) -> None:
    history = HistoryWorld(empty_redis_url, history_url, image_retention_seconds=3600)
    world = history.world
    job_id = finished(world)
    image = live(world, job_id)
    assert image is not None
    assert image.finished_at is not None
    assert image.image_expires_at == image.finished_at + 3_600_000
    history.archive()
    assert history.reader.job(job_id, "acme") == image

    _set(history, job_id, image_expires=1)
    history.end_retention()
    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert archived.image_deleted_at is not None
    assert archived.image_expires_at is None, "as of a live job whose image is deleted"
    assert image.image is not None
    assert image.image.key in world.object_deletions()
    assert history.reader.reusable("acme", request_hash(image.spec), 20) == []

    _set(history, job_id, expires=1)
    history.end_retention()
    assert not history.is_archived(job_id)
    history.close()


def test_what_a_job_says_of_its_retention_counts_when_it_is_archived_too(
    history: HistoryWorld,
) -> None:
    job_id = finished(history.world, retention=Retention(image_seconds=60, record_seconds=3600))
    before = live(history.world, job_id)
    assert before is not None
    assert before.finished_at is not None
    assert before.image_expires_at == before.finished_at + 60_000
    assert before.expires_at == before.finished_at + 3_600_000

    history.archive()

    assert not history.is_live(job_id)
    assert history.reader.job(job_id, "acme") == before


def test_a_job_that_expires_before_it_would_move_is_deleted_in_redis(
    history: HistoryWorld,
) -> None:
    world = history.world
    job_id = finished(
        world,
        retention=Retention(record_seconds=1),
        webhook={"url": "https://x.example/", "events": ["job.succeeded"]},
        webhook_host="x.example",
    )
    history.archive()
    assert not history.is_archived(job_id), "its webhook is not settled"
    world.client.zadd(keys.expiries(), {job_id: 1})

    assert world.store.run(maintenance.delete_expired(most=10)) == 1

    assert live(world, job_id) is None
    assert IMAGE.key in world.object_deletions()


def test_a_job_that_comes_back_is_deleted_when_its_time_is_over(history: HistoryWorld) -> None:
    world = history.world
    job_id = finished(world, retention=Retention(image_seconds=60, record_seconds=3600))
    history.archive()
    archived = history.reader.job(job_id, "acme")
    assert archived is not None

    assert restore(history, job_id) == "ok"

    assert world.client.zscore(keys.expiries(), job_id) == archived.expires_at
    assert world.client.zscore(keys.image_expiries(), job_id) == archived.image_expires_at


def test_jobs_of_a_version_without_a_history_move_when_they_would_have_expired(
    history: HistoryWorld,
) -> None:
    job_id = finished(history.world)
    client = history.world.client
    client.zrem(keys.archive_due(), job_id)
    client.zadd(keys.expiries(), {job_id: 1})
    client.hset(keys.job(job_id), "expires", 5)

    history.world.store.run(maintenance.delete_expired(most=10))
    history.archive()

    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert archived.expires_at is None
    assert not client.exists(keys.expiries())


@pytest.mark.parametrize("record_seconds", [0, 365 * 86_400])
def test_jobs_that_ended_without_a_history_move_once_there_is_one(
    empty_redis_url: str, history_url: str, record_seconds: int
) -> None:
    without = World(empty_redis_url)
    job_ids = [
        finished(without, retention=Retention(record_seconds=record_seconds)) for _ in range(3)
    ]
    job_ids.append(canceled := without.accept())
    without.cancel(canceled)
    queued = without.accept()
    without.close()
    history = HistoryWorld(empty_redis_url, history_url)

    clean_all(history)
    history.archive()

    assert not any(map(history.is_live, job_ids))
    assert all(map(history.is_archived, job_ids))
    assert history.is_live(queued)
    history.close()


def test_jobs_of_a_later_time_without_a_history_move_too(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    due = history.world.client.zscore(keys.archive_due(), job_id)
    clean_all(history)
    assert history.world.client.zscore(keys.archive_due(), job_id) == due, "it was scheduled"

    history.world.client.zrem(keys.archive_due(), job_id)
    clean_all(history)
    history.archive()

    assert history.is_archived(job_id)


def clean_all(history: HistoryWorld) -> None:
    """Check every final job once: each call checks two of one status."""
    for _ in range(5):
        history.world.store.run(maintenance.delete_expired(most=2))


def test_without_a_history_a_job_is_deleted_as_before(
    empty_redis_url: str, history: HistoryWorld
) -> None:
    job_id = finished(history.world)
    without = World(empty_redis_url)
    assert without.store.run(maintenance.delete_expired(most=10)) == 0
    due = without.client.zscore(keys.expiries(), job_id)
    finished_at = float(str(without.client.hget(keys.job(job_id), "finished")))
    assert due == finished_at + 7 * 86_400_000
    without.client.zadd(keys.expiries(), {job_id: 1})
    assert without.store.run(maintenance.delete_expired(most=10)) == 1
    without.close()


def test_with_a_history_nothing_is_deleted_by_the_clean_up(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    history.come_due()
    assert history.world.store.run(maintenance.delete_expired(most=10)) == 0
    assert history.is_live(job_id)


def _set(history: HistoryWorld, job_id: str, **columns: int) -> None:
    with history.database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
