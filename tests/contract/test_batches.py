"""A batch is there whole or not at all, whatever is killed, lost or sent twice."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared import ids
from shared.batches import BatchSpec, BatchStatus
from shared.jobs import Job, JobSpec, OnUnknown, Priority, State, Status
from shared.store import batches, job_queries, job_submission, keys, maintenance
from shared.store.audit import AuditContext
from shared.store.batches import BatchWork
from shared.store.budgets import budget_of
from shared.store.bulk import bulk_transition, find_ids, search_of
from shared.store.usage import read_usage
from tests.support.queue_invariants import assert_true
from tests.support.store import FAR, World, list_jobs
from worker.sweep import Sweeper

WEBHOOK = {"url": "https://x.example/", "events": ["batch.completed"]}
HOOKED: dict[str, Any] = {"spec": BatchSpec(webhook=WEBHOOK), "webhook_host": "x.example"}
CHUNK = batches.CHUNK_JOBS
SMALL: dict[str, Any] = {"most": 3, "most_ends": 2}


def jobs(world: World, count: int, **changes: Any) -> list[job_submission.NewJob]:
    return [world.new_job(**{"priority": Priority.LOW, **changes}) for _ in range(count)]


def named(made: Sequence[job_submission.NewJob]) -> list[str]:
    return [job.id for job in made]


def listed(world: World, *, tenant: str = "acme", **wanted: Any) -> list[str]:
    call = list_jobs(tenant, job_queries.Filter(**wanted), limit=200, scan_limit=1000)
    return [one.job.id for one in world.store.run(call).jobs]


def refusal(answer: object) -> tuple[str, str]:
    assert isinstance(answer, job_submission.NotAccepted), answer
    return answer.reason, answer.detail


def assert_nothing_is_seen(
    world: World, batch_id: str, staged: Sequence[job_submission.NewJob]
) -> None:
    for job in staged:
        assert world.store.run(job_queries.read_job(job.id, tenant="acme")) is None
        assert world.cancel(job.id) is None
        assert world.delete_job(job.id) is False
    assert listed(world) == listed(world, status=Status.QUEUED) == []
    assert listed(world, batch_id=batch_id) == []
    assert world.batch_state(batch_id) is None
    assert world.store.run(batches.list_batches("acme", before=None, limit=9)).batches == ()
    assert world.try_claim() is None
    assert not world.store.run(job_queries.service_stats()).jobs.get("queued", 0)
    assert not world.client.exists(keys.feed("acme"), keys.notifications())
    assert world.permits() == 0


def assert_all_is_seen(world: World, batch_id: str, made: Sequence[job_submission.NewJob]) -> None:
    for job in made:
        queued_job = world.read(job.id)
        assert (queued_job.job.state, queued_job.job.version) == (State.QUEUED, 1)
        assert queued_job.job.batch_id == batch_id
        assert queued_job.job.deadline_at == (queued_job.job.enqueued_at or 0) + 3_600_000
    assert listed(world) == listed(world, batch_id=batch_id) == named(made)[::-1]
    assert listed(world, status=Status.QUEUED) == named(made)[::-1]
    state = world.batch_state(batch_id)
    assert state is not None
    assert (state.batch.size, state.batch.counts[Status.QUEUED]) == (len(made), len(made))
    assert world.store.run(job_queries.service_stats()).jobs["queued"] == len(made)
    assert_true(world)


def step(world: World, batch_id: str = "") -> BatchWork:
    return world.store.run(batches.advance_batch(batch_id, **SMALL))


def come_due(world: World, batch_id: str) -> None:
    world.client.zadd(keys.batch_work(), {batch_id: 0}, xx=True)


def test_a_staged_batch_is_seen_by_nobody_between_its_chunks(world: World) -> None:
    made = jobs(world, 7)
    batch_id = ids.batch_id()
    for number, at in enumerate(range(0, 7, 3)):
        call = batches.stage_jobs(batch_id, tenant="acme", number=number, jobs=made[at : at + 3])
        assert world.store.run(call) is None
        assert world.store.run(call) is None  # its reply was lost
        assert_nothing_is_seen(world, batch_id, made)
        assert_true(world)


def test_a_committed_batch_is_seen_whole_before_and_between_the_chunks_of_laying_it_out(
    world: World,
) -> None:
    # given
    made = jobs(world, 7)
    batch_id = world.stage(made[:3], made[3:6], made[6:])
    # when
    first = world.commit(batch_id, 7)
    assert world.commit(batch_id, 7) == first
    # then
    assert_all_is_seen(world, batch_id, made)
    assert step(world, batch_id) is BatchWork.MORE
    assert_all_is_seen(world, batch_id, made)
    assert world.client.zcard(keys.queue_ready("jobs", "acme", "m")) == 3
    assert step(world, batch_id) is BatchWork.MORE
    assert step(world, batch_id) is BatchWork.DONE
    assert step(world, batch_id) is BatchWork.DONE
    assert_all_is_seen(world, batch_id, made)
    assert not world.client.keys("[{]dr}:staged:*")
    assert world.client.zcard(keys.batch_work()) == 0
    assert world.client.xlen(keys.feed("acme")) == 7
    assert [world.claim().job.id for _ in made] == named(made)


def test_the_sweep_lays_out_what_whoever_committed_has_left(world: World) -> None:
    made = jobs(world, 7)
    batch_id = world.stage(made[:3], made[3:6], made[6:])
    world.commit(batch_id, 7)
    step(world, batch_id)

    assert step(world) is BatchWork.IDLE  # who committed may still be at it
    come_due(world, batch_id)
    assert world.advance_batch(**SMALL) == 2

    assert [world.claim().job.id for _ in made] == named(made)
    assert_true(world)


def test_a_stage_left_behind_at_any_chunk_is_swept_and_leaves_nothing(world: World) -> None:
    before = set(world.client.keys("*"))
    spec = JobSpec(model="m", input={"prompt": "p"}, tags=("blue", "large"))
    for chunks in (1, 2, 3):
        made = jobs(world, 3 * chunks, spec=spec)
        batch_id = world.stage(*(made[at : at + 3] for at in range(0, 3 * chunks, 3)))
        assert step(world) is BatchWork.IDLE  # its client may still be sending

        come_due(world, batch_id)
        step(world)
        assert_nothing_is_seen(world, batch_id, made)
        assert world.commit(batch_id, 3 * chunks) == job_submission.NotAccepted("lost")
        more = batches.stage_jobs(batch_id, tenant="acme", number=chunks, jobs=made[:1])
        assert world.store.run(more) == job_submission.NotAccepted("lost")
        come_due(world, batch_id)
        world.advance_batch(**SMALL)

        assert {*world.client.keys("*")} - before == {keys.staged_counts()}
        assert world.client.hget(keys.staged_counts(), "acme") == "0"


def test_a_worker_s_sweep_tends_what_nobody_else_does(world: World) -> None:
    made = jobs(world, 3)
    left, committed = world.stage(jobs(world, 3)), world.stage(made)
    world.commit(committed, 3)
    for batch_id in (left, committed):
        come_due(world, batch_id)

    Sweeper(world.store, worker="w", lease_seconds=15).sweep()

    assert not world.client.keys("[{]dr}:staged:*")
    assert_all_is_seen(world, committed, made)


def test_a_stage_that_is_given_up_can_no_longer_be_committed(world: World) -> None:
    made = jobs(world, 2)
    batch_id = world.stage(made)

    assert world.store.run(batches.discard_batch(batch_id)) is True
    assert world.commit(batch_id, 2) == job_submission.NotAccepted("lost")
    world.advance_batch(batch_id)

    assert world.store.run(batches.discard_batch(batch_id)) is False
    assert_nothing_is_seen(world, batch_id, made)
    assert not world.client.keys("[{]dr}:jobs:*")


def test_a_committed_batch_cannot_be_given_up(world: World) -> None:
    made = jobs(world, 2)
    batch_id = world.batch(*made)
    assert world.store.run(batches.discard_batch(batch_id)) is False
    assert_all_is_seen(world, batch_id, made)


def test_a_late_commit_is_refused(world: World) -> None:
    made = jobs(world, 1)
    batch_id = world.stage(made)
    new = batches.NewBatch(batch_id, "acme", BatchSpec(), 1)
    answer = world.store.run(batches.commit_batch(new, not_after_ms=1))
    assert answer == job_submission.NotAccepted("late")
    assert_nothing_is_seen(world, batch_id, made)


def test_the_same_key_and_body_is_the_same_batch(world: World) -> None:
    keyed: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
    first = world.batch(*jobs(world, 2), **keyed)
    again = world.stage(jobs(world, 2))
    other = {**keyed, "fingerprint": "g"}

    assert world.commit(again, 2, **keyed) == job_submission.NotAccepted("replayed", first)
    assert world.commit(again, 2, **other) == job_submission.NotAccepted("reused", first)
    # a job's body is never a batch's
    one = job_submission.accept(world.new_job(**other), not_after_ms=FAR)
    assert world.store.run(one) == job_submission.NotAccepted("reused", first)


@pytest.mark.parametrize("whose", ["tenant_full", "full"])
def test_a_batch_for_which_there_is_no_room_is_refused_whole(
    empty_redis_url: str, whose: str
) -> None:
    world = World(empty_redis_url, max_queue=5 if whose == "full" else 10)
    world.limit(max_queued=5 if whose == "tenant_full" else 10)
    world.accept()
    staged = [world.stage(jobs(world, 3)) for _ in range(2)]  # each alone fits

    assert isinstance(world.commit(staged[0], 3), batches.Committed)
    assert refusal(world.commit(staged[1], 3)) == (whose, "4")
    call = batches.stage_jobs(ids.batch_id(), tenant="acme", number=0, jobs=jobs(world, 2))
    assert refusal(world.store.run(call)) == (whose, "4")

    # what is staged and not committed takes no room from others
    assert isinstance(world.accept(), str)
    assert_true(world)
    world.close()


def test_a_batch_is_one_request_and_its_credits_are_promised_at_the_commit(world: World) -> None:
    world.limit(requests_per_minute=2, daily_credits=5)
    priced = [jobs(world, 2, credits=1.5) for _ in range(2)]
    left, batch_id = (world.stage(made[:1], made[1:]) for made in priced)
    assert used(world) == (0, 0)  # a stage is only asked for

    answer = world.commit(batch_id, 2)
    assert isinstance(answer, batches.Committed)
    assert answer.rate is not None
    assert (answer.rate.limit, answer.rate.left) == (2, 1)
    again = world.commit(batch_id, 2)
    assert isinstance(again, batches.Committed)
    assert (again.created_at, used(world)) == (answer.created_at, (1, 3))
    reason, detail = refusal(world.commit(left, 2))
    budget = budget_of(detail)
    assert (reason, budget.promised, budget.limit) == ("budget_spent", 3, 5)
    world.store.run(batches.discard_batch(left))
    for one in (left, batch_id):
        world.advance_batch(one)
    assert used(world) == (1, 3)

    world.cancel(priced[1][0].id)
    assert used(world) == (1, 1.5)
    world.call(world.claim())
    world.store.run(batches.cancel_batch(batch_id, tenant="acme"))
    world.advance_batch(batch_id)
    assert used(world) == (1, 0)


def used(world: World) -> tuple[int, float]:
    """Count the requests of the last minute, and the credits that are promised."""
    promised = world.client.hget(keys.reserved_credits(), "acme")
    return world.client.llen(keys.request_times("acme")), float(promised or 0)


def test_a_deadline_that_the_queue_cannot_keep_refuses_a_batch(world: World) -> None:
    first = world.accept()
    world.client.hincrby(keys.job(first), "created", -600_000)
    world.client.zincrby(keys.queue_ready("jobs", "acme", "m"), -600_000, first)
    made = [world.new_job(), world.new_job(deadline_seconds=30), world.new_job()]
    call = batches.stage_jobs(ids.batch_id(), tenant="acme", number=0, jobs=made)
    assert refusal(world.store.run(call))[0] == "behind"
    call = batches.stage_jobs(ids.batch_id(), tenant="acme", number=0, jobs=[made[0], made[2]])
    assert world.store.run(call) is None


def test_operators_find_and_count_the_jobs_of_a_batch_once_it_is_committed(world: World) -> None:
    made = jobs(world, 3)
    batch_id = world.stage(made)
    search = search_of(None, job_queries.Filter(), (Status.QUEUED,), limit=9, scan_limit=9)
    assert world.store.run(find_ids(search)).ids == ()
    assert world.store.run(read_usage("acme", days=1)).queued == 0

    world.commit(batch_id, 3)
    assert list(world.store.run(find_ids(search)).ids) == named(made)[::-1]
    assert world.store.run(read_usage("acme", days=1)).queued == 3
    audit_context = AuditContext("op", "")
    call = bulk_transition(audit_context, "cancel", named(made), deadline_seconds=60, query={})
    assert world.store.run(call).moved == 3
    assert world.store.run(find_ids(search)).ids == ()
    assert_true(world)


def test_a_job_that_is_not_laid_out_yet_can_be_canceled_and_forgotten(world: World) -> None:
    made = jobs(world, 3)
    batch_id = world.stage(made)
    world.commit(batch_id, 3)

    found = world.cancel(made[1].id)
    assert isinstance(found, Job)
    assert found.state is State.CANCELED
    assert world.delete_job(made[1].id) is True
    world.advance_batch(batch_id)

    assert [world.claim().job.id for _ in range(2)] == [made[0].id, made[2].id]
    assert world.try_claim() is None


def test_a_batch_of_a_tenant_waits_behind_its_own_interactive_jobs(world: World) -> None:
    world.batch(*jobs(world, 3))
    own = world.accept()
    assert world.claim().job.id == own


def finish(world: World) -> None:
    world.succeed(world.checkpoint(world.call(world.claim())))


def cancel_next(world: World) -> None:
    world.cancel(world.claim().job.id)


@pytest.mark.parametrize("end", [finish, cancel_next, lambda world: world.fail(world.claim())])
def test_the_end_of_the_last_job_owes_the_webhook_once(
    world: World, end: Callable[[World], None]
) -> None:
    batch_id = world.batch(*jobs(world, 2), **HOOKED)
    end(world)
    assert world.claim_delivery() is None
    end(world)

    delivery = world.delivery()
    assert (delivery.id, delivery.type) == (f"msg_{batch_id[6:]}_1_completed", "batch.completed")
    state = world.batch_state(batch_id)
    assert state is not None
    assert delivery.batch == state.batch
    assert delivery.webhook == WEBHOOK
    assert state.batch.status is BatchStatus.COMPLETED
    assert state.batch.progress == 1
    assert_true(world)


def test_a_job_sent_again_does_not_end_its_batch_a_second_time(world: World) -> None:
    batch_id = world.batch(*jobs(world, 1), **HOOKED)
    held = world.claim()
    world.fail(held)
    world.settle(world.delivery(), "delivered")

    world.again(held.job.id)
    state = world.batch_state(batch_id)
    assert state is not None
    assert (state.batch.left, state.batch.status) == (1, BatchStatus.RUNNING)
    finish(world)

    assert world.claim_delivery() is None
    state = world.batch_state(batch_id)
    assert state is not None
    assert state.batch.counts[Status.SUCCEEDED] == 1
    assert_true(world)


def test_a_deadline_and_a_lost_worker_end_a_batch_too(world: World) -> None:
    made = jobs(world, 2, on_unknown=OnUnknown.FAIL)
    world.batch(*made, **HOOKED)
    lost = world.call(world.claim(lease_seconds=0))
    world.rescue()
    assert world.read(lost.job.id).job.state is State.FAILED
    assert world.claim_delivery() is None
    world.pass_deadline(made[1].id)
    world.rescue()
    assert world.delivery().type == "batch.completed"


def test_the_first_step_of_a_cancel_stops_the_rest_from_being_begun(world: World) -> None:
    # given
    made = jobs(world, 7)
    batch_id = world.batch(*made, **HOOKED)
    running = world.claim()
    # when
    call = batches.cancel_batch(batch_id, tenant="acme")
    assert world.store.run(call) == "ok"
    # then
    state = world.batch_state(batch_id)
    assert state is not None
    assert state.batch.status is BatchStatus.CANCELING
    other = world.accept(priority=Priority.LOW)
    assert world.claim().job.id == other
    assert_true(world)
    assert world.store.run(call) == "ok"
    world.advance_batch(batch_id, **SMALL)
    assert {world.read(one).job.state for one in named(made)} == {State.CANCELED}
    assert world.read(running.job.id).job.state is State.CANCELED
    assert world.store.run(call) == "ok"
    assert world.store.run(batches.cancel_batch(batch_id, tenant="acme")) == "state"
    assert world.delivery().type == "batch.completed"
    assert world.claim_delivery() is None
    assert_true(world)


@pytest.mark.parametrize("laid_out", [0, 1, 2])
def test_a_cancel_may_come_while_the_batch_is_laid_out(world: World, laid_out: int) -> None:
    made = jobs(world, 7)
    batch_id = world.stage(made[:3], made[3:6], made[6:])
    world.commit(batch_id, 7)
    for _ in range(laid_out):
        step(world, batch_id)

    world.store.run(batches.cancel_batch(batch_id, tenant="acme"))
    assert step(world, batch_id) is BatchWork.MORE
    come_due(world, batch_id)
    world.advance_batch(**SMALL)  # whoever canceled it is gone

    assert {world.read(one).job.state for one in named(made)} == {State.CANCELED}
    assert not world.client.keys("[{]dr}:staged:*")
    assert_true(world)


def test_a_job_sent_again_after_the_cancel_is_not_canceled_with_the_rest(world: World) -> None:
    made = jobs(world, 3)
    batch_id = world.batch(*made)
    world.pass_a_millisecond()
    world.store.run(batches.cancel_batch(batch_id, tenant="acme"))
    step(world, batch_id)
    world.pass_a_millisecond()

    world.again(made[0].id)
    assert world.claim().job.id == made[0].id


@pytest.mark.parametrize("tenant", ["other", ""])
def test_another_tenant_s_batch_is_neither_read_nor_canceled(world: World, tenant: str) -> None:
    batch_id = world.batch(*jobs(world, 1))
    assert world.batch_state(batch_id, tenant) is None
    assert world.store.run(batches.cancel_batch(batch_id, tenant=tenant)) == "missing"
    assert world.store.run(batches.list_batches("other", before=None, limit=9)).batches == ()
    read = batches.list_batch_jobs(batch_id, tenant=tenant, after=None, most=9)
    assert world.store.run(read) == ((), None)
    assert world.store.run(batches.cancel_batch("batch_x", tenant="acme")) == "missing"


def test_a_batch_goes_with_the_last_of_its_jobs(world: World) -> None:
    made = jobs(world, 2)
    batch_id = world.batch(*made)
    for job in made:
        world.cancel(job.id)
    world.delete_job(made[0].id)
    state = world.batch_state(batch_id)
    assert state is not None
    assert (state.batch.size, state.batch.counts[Status.CANCELED]) == (2, 2)

    world.client.zadd(keys.expiries(), {made[1].id: 1})
    world.store.run(maintenance.delete_expired(most=10))

    assert world.batch_state(batch_id) is None
    left = [key for key in world.client.keys("*") if batch_id in key]
    assert left == []
    assert world.store.run(batches.list_batches("acme", before=None, limit=9)).batches == ()


def test_batches_are_listed_newest_first_page_by_page(world: World) -> None:
    made = [world.batch(*jobs(world, 1)) for _ in range(3)]
    world.stage(jobs(world, 1))

    first = world.store.run(batches.list_batches("acme", before=None, limit=2))
    rest = world.store.run(batches.list_batches("acme", before=first.before, limit=2))

    found = [one.batch.id for one in (*first.batches, *rest.batches)]
    assert found == made[::-1]
    assert rest.before is None


def test_its_jobs_are_read_in_the_order_asked_for_laid_out_or_not(world: World) -> None:
    made = jobs(world, 5)
    batch_id = world.stage(made)
    world.commit(batch_id, 5)
    world.cancel(made[2].id)

    found, after = world.store.run(
        batches.list_batch_jobs(batch_id, tenant="acme", after=None, most=3)
    )
    rest, end = world.store.run(
        batches.list_batch_jobs(batch_id, tenant="acme", after=after, most=3)
    )

    assert [job.id for job in (*found, *rest)] == named(made)
    assert end is None


def test_no_script_touches_more_than_a_chunk_of_jobs(world: World) -> None:
    made = jobs(world, 2 * CHUNK + 1)
    before = world.client.info("commandstats")
    batch_id = world.stage(made[:CHUNK], made[CHUNK : 2 * CHUNK], made[2 * CHUNK :])
    world.commit(batch_id, len(made))
    assert world.advance_batch(batch_id) == -(-len(made) // batches.CHUNK_LAID)
    world.store.run(batches.cancel_batch(batch_id, tenant="acme"))
    assert world.advance_batch(batch_id) == -(-len(made) // batches.CHUNK_ENDS)
    # 3 to stage, 1 to commit, 6 to lay out, 1 and 11 to cancel
    after = world.client.info("commandstats")
    calls = after["cmdstat_fcall"]["calls"] - before.get("cmdstat_fcall", {"calls": 0})["calls"]
    assert calls <= 22 + 5  # and those that were not known yet
    assert_true(world)
