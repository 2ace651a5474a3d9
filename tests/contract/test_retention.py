"""Jobs that are sent again, forgotten, and thrown away when their time is over."""

from dataclasses import replace

import pytest

from shared.jobs import FOREVER, Job, Retention, State, Status
from shared.store import dry_run, job_queries, job_submission, keys, maintenance, tenants
from shared.store.functions import OBJECT_REFUSED_MS
from tests.contract.test_transitions import reach
from tests.support.store import FAR, IMAGE, World

WEBHOOK = {"url": "https://x.example/", "events": ["job.failed"]}


def test_a_failed_job_sent_again_is_the_same_job_in_its_next_run(world: World) -> None:
    job_id = world.accept()
    world.fail(world.claim())

    found = world.again(job_id)

    assert isinstance(found, Job)
    assert (found.id, found.state, found.run, found.attempt) == (job_id, State.QUEUED, 2, 0)
    assert (found.error_code, found.finished_at, found.started_at) == (None, None, None)
    assert found.created_at <= (found.enqueued_at or 0)
    held = world.claim()
    assert held.job.id == job_id
    world.succeed(world.checkpoint(world.call(held)))
    assert world.read(job_id).job.state is State.SUCCEEDED


def test_a_failed_job_sent_again_is_no_longer_listed_by_its_error(world: World) -> None:
    job_id = world.accept()
    world.fail(world.claim())
    assert world.client.keys("*jobs:acme:error:*")

    world.again(job_id)

    assert not world.client.keys("*jobs:acme:error:*")
    assert world.client.zscore(keys.expiries(), job_id) is None
    assert world.client.zscore(keys.deadlines(), job_id) is not None


def test_what_was_bought_is_not_bought_again_by_asking_again(world: World) -> None:
    job_id = world.accept()
    world.cancel(world.checkpoint(world.call(world.claim())).job.id)

    world.again(job_id)

    held = world.claim(keys=())
    assert held.job.state is State.FETCHING
    assert held.job.answer is not None
    # nor stored where the trash is about to delete
    assert held.job.answer.object_name == "t/2026/01/01/x-1.2"
    assert f"{held.job.answer.object_name}.webp" not in world.object_deletions()


def test_each_run_has_its_own_spare_call_and_its_own_webhook(world: World) -> None:
    job_id = world.accept(webhook=WEBHOOK, webhook_host="x.example")
    world.call(world.claim(lease_seconds=0))
    world.rescue()
    world.fail(world.claim())

    found = world.again(job_id)
    world.fail(world.claim())

    assert isinstance(found, Job)
    assert (found.unknown_outcomes, found.spare_calls_used) == (1, 1)
    owed = {str(key).rsplit("_", 2)[1] for key in world.client.keys("*delivery:msg_*")}
    assert owed == {"1", "2"}


def test_asking_again_twice_over_a_lost_reply_makes_one_run(world: World) -> None:
    job_id = world.accept()
    world.fail(world.claim())
    call = job_submission.rerun(job_id, tenant="acme", deadline_seconds=60)

    world.store.run(call)
    found = world.store.run(call)

    assert isinstance(found, Job)
    assert found.run == 2


def test_a_full_tenant_may_not_ask_again(world: World) -> None:
    failed = world.accept()
    world.fail(world.claim())
    world.accept()
    world.store.run(tenants.set_limits("acme", max_queued=1))

    refused = world.again(failed)
    assert isinstance(refused, job_submission.NotAccepted)
    assert (refused.reason, refused.detail) == ("tenant_full", "1")
    assert world.read(failed).job.state is State.FAILED


@pytest.mark.parametrize("tenant", ["other", ""])
def test_another_tenant_s_job_is_neither_sent_again_nor_forgotten(
    world: World, tenant: str
) -> None:
    job_id = reach(world, State.FAILED).job.id

    assert world.again(job_id, tenant=tenant) is None
    assert world.delete_job(job_id, tenant=tenant) is False
    assert world.read(job_id).job.state is State.FAILED


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELED])
def test_a_forgotten_job_leaves_nothing_but_its_image_in_the_trash(
    world: World, state: State
) -> None:
    job_id = reach(world, state).job.id

    assert world.delete_job(job_id) is True

    left = [key for key in world.client.keys("*") if job_id in key]
    assert left == [keys.deleted(job_id)]
    named = [key for key in world.client.keys("*") if world.client.type(key) == "zset"]
    assert not any(world.client.zscore(key, job_id) is not None for key in named)
    assert not any(int(count) for count in world.client.hvals(keys.counts()))
    assert (IMAGE.key in world.object_deletions()) == (state is State.SUCCEEDED)


def test_forgetting_over_a_lost_reply_is_done_and_twice_finds_nothing(world: World) -> None:
    job_id = reach(world, State.FAILED).job.id
    call = job_submission.delete_job(job_id, tenant="acme")

    assert world.store.run(call) is True
    assert world.store.run(call) is True
    assert world.delete_job(job_id) is False


@pytest.mark.parametrize("state", [State.QUEUED, State.CLAIMED, State.CALLING, State.FETCHING])
def test_what_is_not_final_is_not_forgotten(world: World, state: State) -> None:
    job_id = reach(world, state).job.id

    assert world.delete_job(job_id) is state.status
    assert world.read(job_id).job.state is state


def test_a_key_whose_job_was_forgotten_is_gone(world: World) -> None:
    keyed = {"idempotency_key": "k", "fingerprint": "f"}
    job_id = world.accept(**keyed)
    world.fail(world.claim())
    world.delete_job(job_id)

    answer = world.store.run(job_submission.accept(world.new_job(**keyed), not_after_ms=10**15))

    assert answer == job_submission.NotAccepted("gone", job_id)


def test_final_jobs_are_forgotten_when_their_time_is_over_and_no_others(world: World) -> None:
    over, kept, waiting = (reach(world, State.SUCCEEDED).job.id for _ in range(3))
    waiting = world.accept()
    world.client.zadd(keys.expiries(), {over: 1})

    assert world.store.run(maintenance.delete_expired(most=10)) == 1

    assert world.store.run(job_queries.read_job(over, tenant="acme")) is None
    assert world.read(kept).job.state is State.SUCCEEDED
    assert world.read(waiting).job.state is State.QUEUED


DAY_SECONDS = 86_400
OF_THE_TENANT = {"record_retention_seconds": 2 * DAY_SECONDS, "image_retention_seconds": 60}
SEVEN_DAYS = 7 * DAY_SECONDS


def kept_seconds(job: Job) -> tuple[float | None, float | None]:
    """Return how long after its end a job is deleted, and its image before it."""
    assert job.finished_at is not None
    ends = (job.expires_at, job.image_expires_at)
    return (
        None if ends[0] is None else (ends[0] - job.finished_at) / 1000,
        None if ends[1] is None else (ends[1] - job.finished_at) / 1000,
    )


@pytest.mark.parametrize(
    ("of_the_job", "of_the_tenant", "kept"),
    [
        (Retention(), {}, (SEVEN_DAYS, None)),
        (Retention(), OF_THE_TENANT, (2 * DAY_SECONDS, 60)),
        (Retention(record_seconds=30), OF_THE_TENANT, (30, None)),
        (Retention(image_seconds=30), OF_THE_TENANT, (2 * DAY_SECONDS, 30)),
        (Retention(image_seconds=FOREVER), OF_THE_TENANT, (2 * DAY_SECONDS, None)),
        (Retention(record_seconds=FOREVER), OF_THE_TENANT, (None, 60)),
        (Retention(FOREVER, FOREVER), OF_THE_TENANT, (None, None)),
        (Retention(), {"record_retention_seconds": FOREVER}, (None, None)),
        (Retention(image_seconds=SEVEN_DAYS), {}, (SEVEN_DAYS, None)),
    ],
    ids=repr,
)
def test_a_job_is_kept_as_it_says_else_as_its_tenant_else_as_the_settings(
    world: World,
    of_the_job: Retention,
    of_the_tenant: dict[str, int],
    kept: tuple[float | None, float | None],
) -> None:
    world.store.run(tenants.set_limits("acme", **of_the_tenant))
    job_id = world.accept(retention=of_the_job)
    world.finish(world.claim())

    job = world.read(job_id).job

    assert job.spec.retention == of_the_job
    assert kept_seconds(job) == kept
    assert world.client.zscore(keys.expiries(), job_id) == job.expires_at
    assert world.client.zscore(keys.image_expiries(), job_id) == job.image_expires_at


def test_a_job_of_a_batch_and_a_reused_image_have_their_own_retention(world: World) -> None:
    own = Retention(image_seconds=30, record_seconds=60)
    of_a_batch = world.new_job(retention=own)
    world.batch(of_a_batch)
    world.finish(world.claim())
    assert kept_seconds(world.read(of_a_batch.id).job) == (60, 30)

    image = replace(IMAGE, key="copy.webp")
    world.client.zadd(keys.object_deletions(), {image.key: FAR})
    reused = world.new_job(retention=own, reused=job_submission.Reused(of_a_batch.id, image))
    world.store.run(job_submission.accept(reused, not_after_ms=FAR))
    assert kept_seconds(world.read(reused.id).job) == (60, 30)


def test_the_tenant_s_retention_is_that_of_the_end_of_the_job(world: World) -> None:
    before, after = world.accept(), world.accept()
    world.finish(world.claim())
    world.store.run(tenants.set_limits("acme", record_retention_seconds=60))
    world.finish(world.claim())

    assert kept_seconds(world.read(before).job) == (SEVEN_DAYS, None)
    assert kept_seconds(world.read(after).job) == (60, None)


def test_a_retried_job_is_kept_as_long_after_its_next_end(world: World) -> None:
    job_id = world.accept(retention=Retention(record_seconds=60))
    world.fail(world.claim())

    queued = world.again(job_id)

    assert isinstance(queued, Job)
    assert queued.expires_at is None
    assert world.client.zscore(keys.expiries(), job_id) is None
    world.finish(world.claim())
    assert kept_seconds(world.read(job_id).job) == (60, None)


def test_an_image_past_its_retention_is_deleted_and_its_job_kept(world: World) -> None:
    job_id = world.accept(retention=Retention(image_seconds=60))
    world.finish(world.claim())
    before = world.read(job_id).job
    world.client.zadd(keys.image_expiries(), {job_id: 1})

    assert world.store.run(maintenance.delete_expired(most=10)) == 1
    assert world.store.run(maintenance.delete_expired(most=10)) == 0

    after = world.read(job_id).job
    assert after.image_deleted_at is not None
    assert (after.image_expires_at, after.image) == (None, before.image)
    assert (after.version, after.expires_at) == (before.version + 1, before.expires_at)
    assert IMAGE.key in world.object_deletions()
    found = dry_run.find_reusable(world.new_job(), object_name="copy")
    assert world.store.run(found) is None


def test_a_job_without_an_image_has_none_to_delete(world: World) -> None:
    job_id = world.accept(retention=Retention(image_seconds=60))
    world.fail(world.claim())

    assert world.read(job_id).job.image_expires_at is None
    assert world.client.zscore(keys.image_expiries(), job_id) is None


def test_an_object_leaves_the_trash_only_when_it_is_deleted(world: World) -> None:
    world.client.zadd(keys.object_deletions(), {"a": 1, "b": 2, "later": 10**15})

    assert world.store.run(maintenance.object_deletions(most=10)) == ["a", "b"]
    assert world.store.run(maintenance.object_deletions(most=10)) == ["a", "b"]
    assert world.store.run(maintenance.object_deletions(["a"], most=10)) == ["b"]
    assert set(world.object_deletions()) == {"b", "later"}


def test_an_object_that_the_storage_refuses_to_delete_is_tried_again_later(world: World) -> None:
    world.client.zadd(keys.object_deletions(), {"a": 1, "b": 2})

    # one that a job uses again has left the set, and does not come back
    world.store.run(maintenance.postpone_object_deletions(["a", "in use"]))
    assert world.store.run(maintenance.object_deletions(most=10)) == ["b"]
    assert set(world.object_deletions()) == {"a", "b"}
    world.client.zincrby(keys.object_deletions(), -OBJECT_REFUSED_MS, "a")
    assert set(world.store.run(maintenance.object_deletions(most=10))) == {"a", "b"}


def test_the_statuses_that_a_client_reads_are_told(world: World) -> None:
    done = reach(world, State.SUCCEEDED).job.id

    assert world.again(done) is Status.SUCCEEDED
