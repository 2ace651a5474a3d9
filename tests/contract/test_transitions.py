"""Every move from every state: where it may start, where it ends, what it leaves behind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from shared.errors import LostLease
from shared.jobs import TRANSITIONS, Job, State
from shared.store import job_submission, keys, maintenance, transitions
from shared.store.functions import SAMPLE_STEPS_MS
from shared.store.job_submission import Fallback
from tests.support.queue_invariants import assert_true
from tests.support.store import World

#: What a sweep writes whether or not it finds anything.
_SWEEP_KEYS = {
    *(keys.sweep(), keys.deadlines(), keys.ended()),
    *(keys.queue_state("jobs"), keys.queue_state("deliveries"), keys.queue_lanes("jobs")),
    *(keys.samples(step) for step in SAMPLE_STEPS_MS),
}


def reach(world: World, state: State, *, bought: bool = False) -> transitions.Claim:
    """Take a new job to a state, with its lease over, and give the claim it got there by."""
    world.accept(fallbacks=(Fallback("other", {"prompt": "p"}),))
    held = world.claim(lease_seconds=0)
    if state is State.CALLING:
        world.call(held)
    if bought or state in {State.FETCHING, State.SUCCEEDED}:
        world.checkpoint(world.call(held))
    if state is State.QUEUED:
        world.rescue()
    if state is State.SUCCEEDED:
        world.succeed(held)
    if state is State.FAILED:
        world.fail(held)
    if state is State.CANCELED:
        world.cancel(held.job.id)
    assert world.read(held.job.id).job.state is state
    return held


def worked(move: Callable[..., object], *args: Any) -> bool:
    try:
        move(*args)
    except LostLease:
        return False
    return True


def claimed(world: World, held: transitions.Claim) -> bool:
    found = world.try_claim()
    return isinstance(found, transitions.Claim) and found.job.id == held.job.id


def model_changed(world: World, held: transitions.Claim) -> bool:
    before = world.read(held.job.id).job.version
    world.client.hset(keys.gate(), "paused:model:m", 1)
    world.sweep()
    world.client.hdel(keys.gate(), "paused:model:m")
    return world.read(held.job.id).job.version > before


def expired(world: World, held: transitions.Claim) -> bool:
    world.pass_deadline(held.job.id)
    swept = world.sweep()
    return swept is not None and bool(swept.failed)


MOVE: dict[str, Callable[[World, transitions.Claim], bool]] = {
    "claim": claimed,
    "resume": claimed,
    "start_call": lambda world, held: worked(world.call, held),
    "checkpoint": lambda world, held: worked(world.checkpoint, held),
    "succeed": lambda world, held: worked(world.succeed, held),
    "change_model": model_changed,
    "requeue": lambda world, held: worked(world.retry, held),
    "release": lambda world, held: worked(world.release, held),
    "rescue": lambda world, held: bool(world.rescue().rescued),
    "fail": lambda world, held: worked(world.fail, held),
    "expire": expired,
    "cancel": lambda world, held: isinstance(world.cancel(held.job.id), Job),
    "rerun": lambda world, held: isinstance(world.again(held.job.id), Job),
}
#: The moves that name the fence of who holds the job.
FENCED = ("start_call", "checkpoint", "succeed", "requeue", "release", "fail")
TABLE = [(state, move) for state in State for move in TRANSITIONS]


def everything(world: World, *, but: set[str]) -> dict[str, object]:
    with redis.Redis.from_url(world.settings.redis_url) as client:
        return {
            key.decode(): client.dump(key)
            for key in client.scan_iter(count=1000)
            if key.decode() not in but
        }


def counts(world: World) -> dict[str, int]:
    found = world.client.hgetall(keys.counts())
    return {str(name): int(number) for name, number in found.items() if int(number)}


def statuses(world: World, job_id: str) -> list[str]:
    prefix = keys.jobs_by("acme", "status", "")
    found = [str(key) for key in world.client.keys(prefix.replace("{", "[{]") + "*")]
    return [
        key.removeprefix(prefix) for key in found if world.client.zscore(key, job_id) is not None
    ]


@pytest.mark.parametrize(
    ("state", "move"), [pair for pair in TABLE if pair[0] in TRANSITIONS[pair[1]].sources]
)
def test_a_legal_move_ends_where_the_table_says(world: World, state: State, move: str) -> None:
    held = reach(world, state, bought=move == "resume")
    before = world.read(held.job.id).job
    woken, fed = world.client.xlen(keys.notifications()), world.client.xlen(keys.feed("acme"))

    assert MOVE[move](world, held)

    after = world.read(held.job.id).job
    assert after.state is TRANSITIONS[move].target
    assert after.version == before.version + 1
    assert after.history[:-1] == before.history
    assert after.history[-1].version == after.version
    assert after.history[-1].state is after.state
    assert statuses(world, after.id) == [after.state.status.value]
    assert counts(world) == {after.state.status.value: 1}
    assert world.client.xlen(keys.notifications()) == woken + 1
    changed = before.state.status is not after.state.status
    assert world.client.xlen(keys.feed("acme")) == fed + changed


@pytest.mark.parametrize(
    ("state", "move"), [pair for pair in TABLE if pair[0] not in TRANSITIONS[pair[1]].sources]
)
def test_an_illegal_move_changes_nothing(world: World, state: State, move: str) -> None:
    held = reach(world, state)
    but = _SWEEP_KEYS | {keys.job(held.job.id)}
    before, job = everything(world, but=but), world.read(held.job.id).job

    already = (move, state) in {
        ("start_call", State.CALLING),
        ("checkpoint", State.FETCHING),
        ("succeed", State.SUCCEEDED),
        ("fail", State.FAILED),
    }
    if move in FENCED and already:
        assert MOVE[move](world, held)  # the same move again: its reply may have been lost
    else:
        assert not MOVE[move](world, held)

    assert everything(world, but=but) == before
    assert world.read(held.job.id).job == job


@pytest.mark.parametrize("move", FENCED)
def test_a_move_sent_twice_is_made_once(world: World, move: str) -> None:
    held = reach(world, min(TRANSITIONS[move].sources))
    assert MOVE[move](world, held)
    before = everything(world, but=set())

    assert MOVE[move](world, held)

    assert everything(world, but=set()) == before


def test_a_cancel_sent_twice_is_made_once(world: World) -> None:
    call = job_submission.cancel(world.accept(), tenant="acme")
    first = world.store.run(call)
    assert isinstance(first, Job)
    assert world.store.run(call) == first
    assert world.cancel(first.id) == "canceled"  # another request finds it final


def test_a_claim_sent_twice_gets_the_same_job(world: World) -> None:
    world.accept()
    world.accept()
    first = world.claim(nonce="mine")
    assert world.claim(nonce="mine") == first
    assert world.client.zcard(keys.queue_leases("jobs")) == 1


def test_a_claim_sent_again_after_its_job_went_to_another_gets_nothing(world: World) -> None:
    world.accept()
    first = world.claim(nonce="mine", lease_seconds=0)
    world.rescue()
    other = world.claim()
    assert other.job.id == first.job.id
    world.accept()
    assert world.try_claim(nonce="mine") is None


@pytest.mark.parametrize("move", FENCED)
@pytest.mark.parametrize("loss", ["rescue", "cancel", "claim"])
def test_a_worker_that_lost_its_job_is_refused(world: World, move: str, loss: str) -> None:
    held = reach(world, min(TRANSITIONS[move].sources))
    if loss == "cancel":
        world.cancel(held.job.id)
    else:
        world.rescue()
    if loss == "claim":
        assert world.claim().job.id == held.job.id
    before = world.read(held.job.id).job

    assert not MOVE[move](world, held)

    assert world.read(held.job.id).job == before


def test_renewal_names_what_is_no_longer_held(world: World) -> None:
    for _ in range(3):
        world.accept()
    kept, canceled, rescued = world.claim(), world.claim(), world.claim(lease_seconds=0)
    world.cancel(canceled.job.id)
    world.rescue()
    again = world.claim()
    assert again.job.id == rescued.job.id

    held = [(one.job.id, one.fence) for one in (kept, canceled, rescued)]
    lost = world.store.run(
        maintenance.renew("w", queue="generate", threads=3, lease_seconds=15, held=held)
    )

    assert lost == [canceled.job.id, rescued.job.id]


def test_an_attempt_is_given_back_by_release_and_spent_by_retry(world: World) -> None:
    world.accept()
    first = world.claim()
    assert first.job.attempt == 1
    world.release(first)
    second = world.claim()
    assert second.job.attempt == 1
    world.retry(second)
    third = world.claim()
    assert third.job.attempt == 2
    world.retry(third, refund_attempt=True)
    assert world.claim().job.attempt == 2


def test_an_image_to_be_made_again_is_bought_again(world: World) -> None:
    world.accept()
    held = world.checkpoint(world.call(world.claim()))
    world.retry(held, regenerate=True)
    again = world.claim()
    assert (again.job.answer, again.job.regenerated, again.job.state) == (None, 1, State.CLAIMED)


def test_history_stays_within_bounds_and_readable(world: World) -> None:
    job_id = world.accept()
    for _ in range(150):
        world.release(world.claim())
    job = world.read(job_id).job
    assert job.version == 301
    assert job.history[-1].version == 301
    assert len(world.client.hget(keys.job(job_id), "hist") or "") <= 4000


def test_the_image_of_a_job_that_succeeds_is_not_trash_whoever_comes_late(world: World) -> None:
    world.accept()
    late = world.checkpoint(world.call(world.claim(lease_seconds=0)))
    world.rescue()
    now = world.claim()

    assert not worked(world.succeed, late)
    world.succeed(now)
    assert not worked(world.succeed, late)

    assert world.object_deletions() == {}


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_whatever_may_have_been_stored_for_a_job_that_ends_otherwise_is_trash_later(
    world: World, end: str
) -> None:
    held = world.checkpoint(world.call(claim_new(world)))
    before = int(world.client.time()[0]) * 1000

    if end == "cancel":
        world.cancel(held.job.id)
    else:
        world.fail(held)

    assert set(world.object_deletions()) == {
        f"t/2026/01/01/x-1.{kind}" for kind in ("webp", "jpg", "png")
    }
    assert min(world.object_deletions().values()) > before + 500_000


def claim_new(world: World) -> transitions.Claim:
    world.accept()
    return world.claim()


# the end of one job and the claim of the next in one call ---------------------------------------


def paid(world: World) -> transitions.Claim:
    world.accept()
    return world.checkpoint(world.call(world.claim()))


def test_the_call_that_ends_a_job_claims_the_next_one_once(world: World) -> None:
    first, second = paid(world), world.accept()
    ended = world.succeed_and_claim(first, nonce="n")
    assert isinstance(ended.next, transitions.Claim)
    assert (ended.is_lost, ended.next.job.id) == (False, second)
    # a repetition after a lost reply gets the same
    assert world.succeed_and_claim(first, nonce="n").next == ended.next
    assert world.read(second).job.attempt == 1
    last = world.succeed_and_claim(world.checkpoint(world.call(ended.next)))
    assert (last.is_lost, last.next) == (False, None)
    assert counts(world) == {"succeeded": 2}
    assert_true(world)


def test_a_lost_lease_keeps_no_other_job_from_being_claimed(world: World) -> None:
    held, other = paid(world), world.accept()
    ended = world.succeed_and_claim(replace(held, fence="0"))
    assert ended.is_lost
    assert isinstance(ended.next, transitions.Claim)
    assert ended.next.job.id == other


def test_while_calls_are_paused_a_job_ends_and_none_is_claimed(world: World) -> None:
    held, other = paid(world), world.accept()
    world.client.hset(keys.gate(), "paused:generate", "1")
    ended = world.succeed_and_claim(held)
    assert not ended.is_lost
    assert isinstance(ended.next, transitions.Closed)
    assert world.read(held.job.id).job.state is State.SUCCEEDED
    assert world.read(other).job.attempt == 0


def test_the_call_that_ends_a_job_claims_no_isolated_one(world: World) -> None:
    held, suspect = paid(world), world.accept()
    lost = world.call(world.claim())
    world.lose_lease(lost.job.id)
    world.rescue()
    assert world.succeed_and_claim(held).next is None
    assert world.claim(isolated=True).job.id == suspect
