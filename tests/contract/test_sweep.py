"""What time brings: due attempts, lost workers, deadlines."""

import pytest
import redis

from shared.errors import UnknownOutcome
from shared.jobs import OnUnknown, State, Status
from shared.store import keys, maintenance, transitions
from shared.store.audit import AuditContext
from shared.store.batches import cancel_batch
from shared.store.bulk import bulk_transition
from shared.store.transitions import Closed
from tests.support.queue_invariants import assert_true
from tests.support.store import World


def crash(world: World, *, calling: bool = False) -> maintenance.SweepResult:
    held = world.claim(lease_seconds=0)
    if calling:
        world.call(held)
    return world.rescue()


def test_a_job_waits_for_its_next_attempt_and_comes_back(world: World) -> None:
    job_id = world.accept()
    world.retry(world.claim(), wait_seconds=3600)
    job = world.read(job_id).job
    assert job.due_at is not None
    assert 3_590_000 < job.due_at - job.created_at < 3_610_000
    assert world.sweep() is not None
    assert world.try_claim() is None

    world.come_due(job_id)
    swept = world.sweep()

    assert swept is not None
    assert swept.due == 1
    assert world.read(job_id).job.due_at is None
    assert world.claim().job.attempt == 2


def test_a_wait_of_nothing_is_no_wait(world: World) -> None:
    world.accept()
    world.retry(world.claim(), wait_seconds=0)
    assert world.client.zcard(keys.queue_due("jobs")) == 0
    assert world.claim().job.due_at is None


@pytest.mark.parametrize("bought", [False, True])
def test_a_job_that_waits_can_be_canceled(world: World, *, bought: bool) -> None:
    job_id = world.accept()
    held = world.claim()
    if bought:
        world.checkpoint(world.call(held))
    world.retry(held, wait_seconds=60)
    world.cancel(job_id)
    world.come_due(job_id)
    world.sweep()
    assert world.read(job_id).job.due_at is None
    assert world.try_claim() is None
    assert_true(world)


def test_nothing_is_rescued_until_the_living_had_a_lease_to_say_so(world: World) -> None:
    world.accept()
    world.claim(lease_seconds=0)
    for _ in range(3):
        swept = world.sweep(lease_seconds=15)
        assert swept is not None
        assert swept.rescued == ()

    world.client.hset(
        keys.sweep(), "rescue_after", 0
    )  # the lease is over, and sweeps never stopped
    assert (swept := world.sweep()) is not None
    assert swept.rescued == ("claimed",)


def test_an_absence_of_sweeps_is_followed_by_calm(world: World) -> None:
    world.rescue()
    world.accept()
    world.claim(lease_seconds=0)
    seconds, _ = world.client.time()
    world.client.hset(keys.sweep(), "at", (seconds - 6) * 1000)  # more than a third of 15 s
    assert (swept := world.sweep(lease_seconds=15)) is not None
    assert swept.rescued == ()
    calm = int(world.client.hget(keys.sweep(), "rescue_after") or 0)
    assert calm - seconds * 1000 >= 15_000


def test_a_renewed_lease_is_not_rescued(world: World) -> None:
    world.accept()
    held = world.claim(lease_seconds=0)
    one = [(held.job.id, held.fence)]
    lost = world.store.run(
        maintenance.renew("w", queue="generate", threads=1, lease_seconds=15, held=one)
    )
    assert lost == []
    assert world.rescue().rescued == ()


def test_one_worker_sweeps_at_a_time(world: World) -> None:
    assert world.sweep(worker="a") is not None
    assert world.sweep(worker="b") is None
    assert world.sweep(worker="a") is not None
    world.client.hset(keys.sweep(), "until", 0)
    assert world.sweep(worker="b") is not None
    assert world.sweep(worker="a") is None


@pytest.mark.parametrize(
    ("state", "resumed"),
    [
        (State.CLAIMED, State.CLAIMED),
        (State.CALLING, State.CLAIMED),
        (State.FETCHING, State.FETCHING),
    ],
)
def test_a_lost_job_goes_on_from_where_it_was(world: World, state: State, resumed: State) -> None:
    world.accept()
    held = world.claim(lease_seconds=0)
    if state is not State.CLAIMED:
        world.call(held)
    if state is State.FETCHING:
        world.checkpoint(held)

    assert world.rescue().rescued == (state.value,)

    again = world.claim().job
    assert (again.state, again.attempt, again.worker_losses) == (resumed, 1, 1)
    assert again.unknown_outcomes == (state is State.CALLING)


def test_the_third_worker_that_a_job_takes_down_is_the_last(world: World) -> None:
    job_id, other = world.accept(), world.accept()
    for _ in range(2):
        assert crash(world).rescued == ("claimed",)
    swept = crash(world)
    assert (swept.rescued, swept.failed) == (("failed",), (("m", "internal"),))
    assert len(swept.ids) == 1
    job = world.read(job_id).job
    assert (job.state, job.error_code, job.error_retryable) == (State.FAILED, "internal", False)
    assert world.claim().job.id == other
    assert_true(world)


def test_a_second_unknown_outcome_is_the_end(world: World) -> None:
    job_id = world.accept()
    assert crash(world, calling=True).rescued == ("calling",)
    swept = crash(world, calling=True)
    assert swept.failed == (("m", "provider_unknown_outcome"),)
    job = world.read(job_id).job
    assert (job.state, job.unknown_outcomes, job.calls) == (State.FAILED, 2, 2)


def test_an_image_made_again_leaves_no_room_for_an_unknown_outcome(world: World) -> None:
    world.accept()
    world.retry(world.checkpoint(world.call(world.claim())), regenerate=True)
    assert crash(world, calling=True).failed == (("m", "provider_unknown_outcome"),)


def test_a_job_that_wants_no_second_call_fails_at_the_first_unknown_outcome(world: World) -> None:
    world.accept(on_unknown=OnUnknown.FAIL)
    assert crash(world).rescued == ("claimed",)
    assert crash(world, calling=True).failed == (("m", "provider_unknown_outcome"),)


def test_a_worker_can_count_an_unknown_outcome_itself(world: World) -> None:
    job_id = world.accept()
    held = world.call(world.claim())
    world.retry(held, unknown=True)
    world.retry(held, unknown=True)  # sent again
    world.store.run(transitions.fail(world.call(world.claim()), UnknownOutcome("?"), unknown=True))
    assert world.read(job_id).job.unknown_outcomes == 2


def test_a_rescued_job_waits_for_its_tenants_cap_like_any_other(world: World) -> None:
    world.limit(max_running=1)
    job_id = world.accept()
    world.claim(lease_seconds=0)
    second = world.accept()
    world.rescue()
    assert world.claim().job.id == job_id
    assert world.try_claim() is None
    world.cancel(job_id)
    assert world.claim().job.id == second
    assert_true(world)


def test_a_deadline_ends_what_is_not_at_the_provider(world: World) -> None:
    queued, waiting, calling, fetching = (world.accept() for _ in range(4))
    held = {job_id: world.claim() for job_id in (queued, waiting, calling, fetching)}
    world.release(held[queued])
    world.retry(held[waiting], wait_seconds=60)
    world.call(held[calling])
    world.checkpoint(world.call(held[fetching]))
    for job_id in held:
        world.pass_deadline(job_id)

    swept = world.sweep()

    assert swept is not None
    assert swept.failed == (("m", "deadline_exceeded"),) * 3
    assert world.read(calling).job.state is State.CALLING
    world.checkpoint(held[calling])
    world.pass_deadline(calling)
    assert (swept := world.sweep()) is not None
    assert len(swept.failed) == 1
    assert_true(world)


def test_what_ends_outside_of_an_attempt_is_counted_by_the_next_sweep_and_only_by_it(
    world: World,
) -> None:
    # given
    running, queued, chosen = (world.accept() for _ in range(3))
    world.claim()
    # when
    world.cancel(running)
    world.cancel(queued)
    world.store.run(
        bulk_transition(AuditContext("me", "r"), "cancel", [chosen], deadline_seconds=60, query={})
    )
    # then
    assert ended(world) == [("m", Status.CANCELED, "")] * 3
    # when
    batch_id = world.batch(*(world.new_job() for _ in range(30)))
    world.store.run(cancel_batch(batch_id, tenant="acme"))
    assert world.try_claim() == Closed("passing", 0.0)  # it ends twenty of them on its way
    world.advance_batch(batch_id)
    # then
    assert ended(world) == [("m", Status.CANCELED, "")] * 30
    # when
    world.pass_deadline(world.accept())
    # then
    assert ended(world) == [("m", Status.FAILED, "deadline_exceeded")]
    assert ended(world) == []


def test_a_sweep_whose_reply_was_lost_reports_the_same_again(world: World) -> None:
    world.limit(daily_credits=1)
    job_id = world.accept(credits=1.0)
    world.call(world.claim())
    world.cancel(job_id)
    call = maintenance.sweep("w", lock_seconds=5, lease_seconds=15, most=100)

    first = world.store.run(call)
    again = world.store.run(call)

    assert first is not None
    assert again is not None
    assert len(first.ended) == 1
    assert [one.threshold for one in first.crossed] == [50, 80, 100]
    assert (again.ended, again.crossed) == (first.ended, first.crossed)
    assert (later := world.sweep()) is not None
    assert (later.ended, later.crossed) == ((), ())


def ended(world: World) -> list[tuple[str, Status, str]]:
    swept = world.sweep()
    assert swept is not None
    assert all(0 <= one.seconds < 3600 for one in swept.ended)
    return [(one.model, one.status, one.error_code) for one in swept.ended]


def test_a_member_without_a_record_stops_no_sweep(world: World) -> None:
    for key in (keys.queue_due("jobs"), keys.queue_leases("jobs"), keys.queue_due("deliveries")):
        world.client.zadd(key, {"ghost": 0})
    world.client.zadd(keys.queue_leases("deliveries"), {"ghost": 0})
    world.client.zadd(keys.deadlines(), {"ghost": 0})
    world.rescue()
    with redis.Redis.from_url(world.settings.redis_url, decode_responses=True) as client:
        left = [key for key in client.scan_iter() if client.type(key) == "zset"]
    assert left == []


def test_workers_that_left_or_died_no_longer_count(world: World) -> None:
    def bound() -> int:
        world.sweep()
        return int(world.client.hget(keys.queue_state("jobs"), "bound") or 0)

    for worker, lease in (("a", 15.0), ("b", 15.0), ("dead", -1.0)):
        world.store.run(
            maintenance.renew(worker, queue="generate", threads=8, lease_seconds=lease, held=[])
        )
    assert bound() == 2 * 16 + 16
    world.store.run(maintenance.deregister_worker("a"))
    assert bound() == 2 * 8 + 16
