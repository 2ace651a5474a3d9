"""Archived jobs and batches that come back to Redis, and those that are deleted."""

import pytest

from shared.history.search import DeliveryFilter
from shared.jobs import State
from shared.store import (
    archive,
    deliveries,
    delivery_log,
    job_submission,
    keys,
)
from tests.contract.test_standing_endpoints import subscribe
from tests.support.archive import WEBHOOK, finished, live, restore, retry_job, superseded
from tests.support.history import HistoryWorld
from tests.support.store import FAR, World


def test_a_failed_job_comes_back_as_it_was(history: HistoryWorld) -> None:
    world = history.world
    job_id = world.accept(tags=("t",), webhook=WEBHOOK, webhook_host="hooks.example")
    world.fail(world.claim())
    held = world.delivery()
    world.store.run(deliveries.settle_delivery(held, "failed", attempt={"status": 500}))
    before = live(world, job_id)
    history.archive()

    assert restore(history, job_id) == "ok"
    assert live(world, job_id) == before
    assert superseded(history, job_id)
    assert world.client.zscore(keys.failed_deliveries("acme"), held.id) is not None
    assert world.client.zcard(keys.jobs_by("acme", "tag", "t")) == 1
    assert world.client.hget(keys.counts(), "failed") == "1"
    assert restore(history, job_id) == "ok"
    assert world.client.hget(keys.counts(), "failed") == "1"


def test_a_job_that_came_back_runs_and_moves_again_with_all_its_deliveries(
    history: HistoryWorld,
) -> None:
    world = history.world
    job_id = world.accept(webhook=WEBHOOK, webhook_host="hooks.example")
    world.fail(world.claim())
    held = world.delivery()
    world.store.run(deliveries.settle_delivery(held, "failed", attempt={"status": 500}))
    history.archive()
    assert restore(history, job_id) == "ok"

    retry_job(world, job_id)
    world.finish(world.claim())
    told = world.delivery()
    world.store.run(deliveries.settle_delivery(told, "delivered", attempt={"status": 200}))
    history.archive()

    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert (archived.run, archived.state) == (2, State.SUCCEEDED)
    states = {one.id: one.state for one in history.reader.deliveries(DeliveryFilter("acme"), 9)}
    assert states == {held.id: "failed", told.id: "delivered"}
    assert world.client.hget(keys.endpoint(_any_endpoint(world)), "kept") in {None, "0"}


def _any_endpoint(world: World) -> str:
    found = world.client.zrange(keys.endpoints("acme"), 0, -1)
    return str(found[0]) if found else ""


def test_a_job_of_a_batch_comes_back_with_its_batch(history: HistoryWorld) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.finish(world.claim())
    world.fail(world.claim())
    history.archive()

    assert restore(history, second.id) == "ok"
    retry_job(world, second.id)
    state = world.batch_state(batch_id)
    assert state is not None
    assert {one.value: count for one, count in state.batch.counts.items() if count} == {
        "succeeded": 1,
        "queued": 1,
    }
    world.finish(world.claim())
    history.archive()

    batch = history.reader.batch(batch_id, "acme")
    assert batch is not None
    assert {one.value: count for one, count in batch.counts.items() if count} == {"succeeded": 2}
    assert not world.client.exists(keys.batch(batch_id))


def batch_counts(history: HistoryWorld, batch_id: str) -> dict[str, int]:
    batch = history.reader.batch(batch_id, "acme")
    assert batch is not None
    return {one.value: count for one, count in batch.counts.items() if count}


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_batch_whose_last_live_job_is_deleted_has_its_new_counts(
    history: HistoryWorld, *, is_restored: bool
) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.finish(world.claim())
    world.fail(world.claim())
    if is_restored:
        history.archive()
        assert restore(history, second.id) == "ok"
    else:
        # the second is not due yet
        world.client.zadd(keys.archive_due(), {first.id: 1})
        while history.archiver.archive():
            pass
    assert batch_counts(history, batch_id) == {"succeeded": 1, "failed": 1}
    retry_job(world, second.id)
    world.finish(world.claim())

    world.store.run(job_submission.delete_job(second.id, tenant="acme"))
    state = world.batch_state(batch_id)
    assert state is not None, "it is in Redis until the history has its counts"
    history.archive()

    assert batch_counts(history, batch_id) == {"succeeded": 2}
    assert not world.client.exists(keys.batch(batch_id), keys.batches("acme"), keys.archive_due())
    assert (history.is_archived(first.id), history.is_archived(second.id)) == (True, False)


def test_a_batch_that_changes_while_its_counts_are_written_is_written_again(
    history: HistoryWorld,
) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.fail(world.claim())
    world.fail(world.claim())
    history.archive()

    def run_and_delete(job_id: str) -> None:
        assert restore(history, job_id) == "ok"
        retry_job(world, job_id)
        world.finish(world.claim())
        world.store.run(job_submission.delete_job(job_id, tenant="acme"))

    run_and_delete(first.id)
    found = world.store.run(
        archive.next_archivable("worker-1", lock_seconds=20, lease_seconds=60, most=10)
    )
    assert found is not None
    run_and_delete(second.id)
    world.store.run(archive.remove_archived_batches(found.batches))
    assert world.client.exists(keys.batch(batch_id))


def test_deliveries_to_a_standing_endpoint_move_with_their_job_and_are_sent_again(
    history: HistoryWorld,
) -> None:
    world = history.world
    found = subscribe(world)
    job_id = world.accept()
    world.finish(world.claim())
    history.archive()
    assert not history.is_archived(job_id), "its webhook is not settled"
    held = world.delivery()
    world.settle(held, "failed")
    history.archive()
    assert history.is_archived(job_id)
    stored = history.reader.delivery(held.id, "acme")
    assert stored is not None
    assert (stored.endpoint, stored.url) == (found, "https://a.example/hook")
    assert "sending_delivery" not in str(history.reader.stored_job(job_id, "acme"))
    assert restore(history, job_id) == "ok"
    assert world.store.run(delivery_log.redeliver(held.id, tenant="acme")) == "ok"
    assert world.delivery().id == held.id


def test_of_a_batch_whose_jobs_are_all_deleted_nothing_is_left(history: HistoryWorld) -> None:
    world = history.world
    job = world.new_job()
    batch_id = world.batch(job)
    world.finish(world.claim())
    history.archive()
    assert restore(history, job.id) == "ok"
    world.store.run(job_submission.delete_job(job.id, tenant="acme"))
    history.archive()
    assert history.reader.batch(batch_id, "acme") is None
    assert not world.client.exists(keys.batch(batch_id), keys.batches("acme"), keys.archive_due())


def test_a_restoration_that_comes_too_late_is_refused(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    history.archive()
    stored = history.reader.stored_job(job_id, "acme")
    assert stored is not None
    assert history.world.store.run(archive.restore_job(*stored, not_after_ms=1)) == "late"
    assert history.world.store.run(archive.delete_archived(job_id, [], not_after_ms=1)) == "late"
    assert not history.is_live(job_id)


def test_a_deleted_job_cannot_come_back(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    history.archive()
    stored = history.reader.stored_job(job_id, "acme")
    assert stored is not None

    call = archive.delete_archived(job_id, ["t/image.webp"], not_after_ms=FAR)
    assert history.world.store.run(call) == "ok"
    assert history.world.store.run(call) == "ok"
    assert history.world.store.run(archive.restore_job(*stored, not_after_ms=FAR)) == "missing"
    assert "t/image.webp" in history.world.object_deletions()

    history.archive()
    assert not history.is_archived(job_id)


def test_the_last_deleted_job_takes_its_batch_along(history: HistoryWorld) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    for _ in range(2):
        world.finish(world.claim())
    history.archive()

    for job_id in (first.id, second.id):
        assert history.reader.batch(batch_id, "acme") is not None
        world.store.run(archive.delete_archived(job_id, [], not_after_ms=FAR))
        history.archive()

    assert history.reader.batch(batch_id, "acme") is None
