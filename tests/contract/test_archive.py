"""Final jobs move from Redis to the history: always in at least one of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.history.writer import HistoryWriter, NotTheArchiver
from shared.jobs import JobSpec, State
from shared.store import (
    archive,
    deliveries,
    keys,
)
from shared.store.archive import StoredRecord
from tests.support.archive import WEBHOOK, finished, live, retry_job, superseded
from tests.support.history import HistoryWorld
from tests.support.store import FAR, World
from worker.periodic import Skipped


def test_a_final_job_moves_and_reads_the_same(history: HistoryWorld) -> None:
    job_id = finished(history.world, metadata={"order": "7"}, tags=("a", "b"))
    before = live(history.world, job_id)

    history.archive()

    assert live(history.world, job_id) is None
    assert before is not None
    archived = history.reader.job(job_id, "acme")
    assert archived == before
    assert history.reader.job(job_id, "other") is None
    assert history.world.client.zcard(keys.archive_due()) == 0


@pytest.mark.parametrize("seed", ["seven", True, 7.5, [7], None])
def test_a_job_moves_whose_model_has_another_parameter_named_seed(
    history: HistoryWorld, seed: object
) -> None:
    job_id = finished(history.world, spec=JobSpec("m", {"prompt": "a heron", "seed": seed}))
    history.archive()
    assert history.is_archived(job_id)
    assert not history.is_live(job_id)


def test_a_job_that_is_not_final_stays(history: HistoryWorld) -> None:
    job_id = history.world.accept()
    history.world.client.zadd(keys.archive_due(), {job_id: 1})
    history.archive()
    assert history.is_live(job_id)
    assert not history.is_archived(job_id)


def test_every_state_moves_with_its_error_attempts_and_tags(history: HistoryWorld) -> None:
    world = history.world
    failed = world.accept(tags=("t",))
    world.fail(world.claim())
    canceled = world.accept()
    world.cancel(canceled)
    before = [live(world, one) for one in (failed, canceled)]

    history.archive()

    assert [history.reader.job(one, "acme") for one in (failed, canceled)] == before
    assert before[0] is not None
    assert before[0].error_code == "provider_rejected"
    counts = world.client.hgetall(keys.counts())
    assert {counts.get(one, "0") for one in ("failed", "canceled", "succeeded")} == {"0"}
    assert not world.client.exists(keys.tenant_jobs("acme"), keys.jobs_by("acme", "tag", "t"))
    assert not world.client.exists(keys.jobs_by("", "error", "provider_rejected"))


def test_a_job_waits_until_its_webhooks_are_settled(history: HistoryWorld) -> None:
    job_id = finished(history.world, webhook=WEBHOOK, webhook_host="hooks.example")
    history.archive()
    assert history.is_live(job_id)

    held = history.world.delivery()
    history.world.store.run(deliveries.settle_delivery(held, "delivered", attempt={"status": 204}))
    history.archive()

    assert not history.is_live(job_id)
    assert not history.world.client.exists(keys.delivery(held.id), keys.deliveries("acme"))
    entry = history.reader.delivery(held.id, "acme")
    assert entry is not None
    assert (entry.state, entry.subject, entry.url) == ("delivered", job_id, WEBHOOK["url"])
    assert [attempt["status"] for attempt in entry.attempts] == [204]


def test_a_webhook_parked_for_a_week_fails_and_keeps_its_job_no_longer(
    history: HistoryWorld,
) -> None:
    world = history.world
    gone = finished(world, webhook=WEBHOOK, webhook_host="hooks.example")
    world.store.run(deliveries.settle_delivery(world.delivery(), "gone", attempt={"status": 410}))
    parked = finished(world, webhook=WEBHOOK, webhook_host="hooks.example")
    (delivery,) = world.client.zrange(keys.parked(_endpoint(world)), 0, -1)

    history.archive()
    assert not history.is_live(gone)
    assert history.is_live(parked)

    week = 7 * 86_400_000
    created = int(str(world.client.hget(keys.delivery(str(delivery)), "created")))
    world.client.hset(keys.delivery(str(delivery)), "created", created - week)
    history.archive()

    assert not history.is_live(parked)
    entry = history.reader.delivery(str(delivery), "acme")
    assert entry is not None
    assert entry.state == "failed"
    counts = world.client.hgetall(keys.counts())
    assert (counts["webhook_pending"], counts["webhook_parked"]) == ("0", "0")


def _endpoint(world: World) -> str:
    (endpoint,) = world.client.zrange(keys.endpoints("acme"), 0, -1)
    return str(endpoint)


def test_a_batch_moves_with_its_jobs_and_only_when_all_are_final(history: HistoryWorld) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.finish(world.claim())
    history.archive()
    assert history.is_live(first.id)

    world.finish(world.claim())
    before = world.batch_state(batch_id)
    history.archive()

    assert before is not None
    assert history.reader.batch(batch_id, "acme") == before.batch
    assert not world.client.exists(keys.batch(batch_id), keys.batches("acme"))
    found = history.reader.batch_jobs(batch_id, None, 10)
    assert [job.id for job in found] == [first.id, second.id]


def test_what_was_written_and_not_removed_is_written_again(history: HistoryWorld) -> None:
    """The process stops between the commit and the removal."""
    job_id = finished(history.world)
    found = _handed_out(history)
    history.archiver.writer.write(found, [])
    assert history.is_live(job_id)
    assert history.is_archived(job_id)

    history.archive()

    assert not history.is_live(job_id)
    assert history.is_archived(job_id)


def test_a_retry_between_commit_and_removal_wins(history: HistoryWorld) -> None:
    job_id = history.world.accept()
    history.world.fail(history.world.claim())
    found = _handed_out(history)
    history.archiver.writer.write(found, [])
    retry_job(history.world, job_id)

    assert history.world.store.run(archive.remove_archived(found)) == 0
    history.archive()
    assert history.is_live(job_id)

    history.world.finish(history.world.claim())
    history.archive()
    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert (archived.state, archived.run) == (State.SUCCEEDED, 2)


def test_a_delete_between_commit_and_removal_deletes_both(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    found = _handed_out(history)
    history.archiver.writer.write(found, [])

    history.world.delete_job(job_id)
    assert superseded(history, job_id)
    assert history.world.store.run(archive.remove_archived(found)) == 0
    history.archive()

    assert not history.is_archived(job_id)
    assert not superseded(history, job_id)


def test_an_archiver_that_slept_writes_nothing(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    slow = history.archiver
    assert not slow.archive()
    history.come_due()
    found = _handed_out(history)
    history.world.client.delete(keys.archiver())

    history.archiver = history.new_archiver("worker-2")
    history.archive()
    history.world.store.run(archive.delete_archived(job_id, [], not_after_ms=FAR))
    history.archive()
    assert not history.is_archived(job_id)

    with pytest.raises(NotTheArchiver):
        slow.writer.write(found, [])
    assert not history.is_archived(job_id)


def test_processes_that_begin_at_once_get_different_terms(history: HistoryWorld) -> None:
    writers = [HistoryWriter(history.database) for _ in range(8)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(writer.begin) for writer in writers]:
            done.result()

    assert sorted(writer._term or 0 for writer in writers) == [*range(1, 9)]
    may_write = []
    for writer in writers:
        try:
            writer.write([], [])
        except NotTheArchiver:
            continue
        may_write.append(writer)
    assert [writer._term for writer in may_write] == [8]


def test_only_one_process_archives_and_another_takes_over(history: HistoryWorld) -> None:
    other = history.new_archiver("worker-2")
    history.archive()
    job_id = finished(history.world)
    history.come_due()
    with pytest.raises(Skipped):
        other.archive()
    assert history.is_live(job_id)

    history.world.client.delete(keys.archiver())  # as after the lock's time
    assert not other.archive()
    assert not history.is_live(job_id)


def _handed_out(history: HistoryWorld) -> tuple[StoredRecord, ...]:
    """Return what the archiver would write next."""
    history.come_due()
    if not history.archiver.writer.has_begun:
        history.archiver.writer.begin()
    call = archive.next_archivable("worker-1", lock_seconds=20, lease_seconds=60, most=10)
    found = history.world.store.run(call)
    assert found is not None
    return found.jobs
