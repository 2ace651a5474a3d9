"""The experimental mode in which the provider's record settles what became of a call."""

import pytest

from sandbox.wait import wait_until
from shared.jobs import OnUnknown, State
from shared.store import keys, maintenance, transitions
from shared.store.transitions import Signal
from shared.store.usage import Spending, read_usage
from tests.integration.conftest import Open
from tests.support.worker_harness import WorkerHarness, at_work, spec
from worker.generate import do_next_jobs

TWO_TEAMS = "red:key-rrrr,blue:key-bbbb"
UNKNOWN_RECORD = "b2c3d4e5-f6a7-8901-bcde-f12345678901"


def outcome(job_id: str, harness: WorkerHarness) -> tuple[State, int, int]:
    job = harness.job(job_id)
    return job.state, job.calls, job.unknown_outcomes


def lose_in_a_call(harness: WorkerHarness, record_id: str) -> None:
    """Lose a worker in a call with the first key, which the provider accepted under this record."""
    held = harness.world.claim(lease_seconds=0, keys=harness.context.keys)
    assert held.key == harness.context.keys[0]
    harness.world.call(held)
    harness.world.store.run(transitions.record_submitted(held, record_id))
    harness.world.rescue()


def spent(harness: WorkerHarness) -> Spending:
    (today,) = harness.world.store.run(read_usage("acme", days=1)).days
    return today.total


def test_a_job_is_submitted_polled_and_paid_once(open_harness: Open) -> None:
    harness = open_harness(onemin_async=True)
    harness.provider.behave(latency_seconds=0.2)

    job = harness.run()

    assert outcome(job.id, harness) == (State.SUCCEEDED, 1, 0)
    assert harness.paid() == 1
    assert harness.asked("result")[-1] == "ok"


def test_a_worker_lost_in_the_middle_of_a_call_pays_once(open_harness: Open) -> None:
    # given a worker that was lost when the provider had begun
    harness = open_harness(onemin_async=True)
    job_id = harness.accept(spec=spec(on_unknown=OnUnknown.FAIL))
    held = harness.world.claim(lease_seconds=0, keys=tuple(harness.context.keys))
    harness.world.call(held)
    record = harness.provider.record(is_async=True)
    harness.world.store.run(transitions.record_submitted(held, record["uuid"]))
    harness.world.rescue()
    # when another takes the job
    do_next_jobs(harness.context)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    assert harness.paid() == 1


def test_a_record_that_the_provider_does_not_know_means_that_nothing_was_made(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(onemin_async=True)
    job_id = harness.accept()
    lose_in_a_call(harness, UNKNOWN_RECORD)
    # when
    job = harness.finish(job_id)
    # then
    assert (job.state, job.attempt, job.calls) == (State.SUCCEEDED, 1, 2)
    assert harness.paid() == 1


def test_a_record_that_failed_because_the_provider_was_busy_is_called_again(
    open_harness: Open,
) -> None:
    harness = open_harness(onemin_async=True)
    message = "the service is a bit busy, please try again shortly"
    harness.provider.behave({"fault": "failure_record", "message": message})

    job = harness.run()

    assert outcome(job.id, harness) == (State.SUCCEEDED, 2, 0)
    assert harness.paid() == 1


@pytest.mark.parametrize(
    ("on_unknown", "meant"),
    [(OnUnknown.FAIL, (State.FAILED, 2, 1)), (OnUnknown.RETRY, (State.FAILED, 3, 2))],
)
def test_the_call_after_a_lost_record_is_a_call_like_any_other(
    open_harness: Open, on_unknown: OnUnknown, meant: tuple[State, int, int]
) -> None:
    # given
    harness = open_harness(onemin_async=True)
    job_id = harness.accept(spec=spec(on_unknown=on_unknown), credits=3)
    lose_in_a_call(harness, UNKNOWN_RECORD)
    harness.provider.behave(default={"fault": "made_but_522"})
    # when
    harness.finish(job_id)
    # then
    assert outcome(job_id, harness) == meant
    assert harness.paid() == meant[2]
    assert spent(harness) == Spending(harness.paid(), 3 * harness.paid())


def test_a_worker_lost_in_the_call_after_a_lost_record_leaves_an_unknown_outcome(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(onemin_async=True)
    job_id = harness.accept(spec=spec(on_unknown=OnUnknown.FAIL))
    lose_in_a_call(harness, UNKNOWN_RECORD)
    do_next_jobs(harness.context)
    harness.world.come_due(job_id)
    harness.world.sweep()
    harness.world.call(harness.world.claim(lease_seconds=0))
    # when
    harness.world.rescue()
    # then
    assert outcome(job_id, harness) == (State.FAILED, 2, 1)


def test_an_image_that_is_made_again_after_a_look_up_is_not_deleted_with_the_first(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(onemin_async=True)
    job_id = harness.accept()
    lose_in_a_call(harness, harness.provider.record(is_async=True)["uuid"])
    harness.provider.images(state="status", status=404)
    do_next_jobs(harness.context)
    assert harness.job(job_id).regenerated == 1
    harness.provider.images()
    # when
    job = harness.finish(job_id)
    # then
    assert job.image is not None
    assert job.image.key not in harness.world.object_deletions()


def test_an_image_that_is_not_ready_in_time_is_looked_up_again_and_not_bought_again(
    open_harness: Open,
) -> None:
    harness = open_harness(onemin_async=True, provider_timeout_seconds=0.8)
    harness.provider.behave({"fault": "stuck", "seconds": 0.9})

    job = harness.run()

    assert outcome(job.id, harness) == (State.SUCCEEDED, 1, 0)
    assert job.attempt > 1
    assert harness.paid() == 1


def test_a_stop_while_a_record_is_waited_for_gives_the_job_back_with_its_record(
    open_harness: Open,
) -> None:
    # given an image that takes longer than the thread is waited for
    harness = open_harness(onemin_async=True, provider_timeout_seconds=60)
    harness.provider.behave({"fault": "stuck", "seconds": 30})
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(lambda: bool(harness.asked("result")), "the look at the record")
        # when
        harness.context.stopping.set()
    # then
    job = harness.job(job_id)
    assert (job.state, job.attempt, job.unknown_outcomes) == (State.QUEUED, 0, 0)
    assert job.pending_record is not None
    assert harness.slots() == (0, 0)
    assert harness.world.client.hget(keys.gate(), "fails") is None


def test_a_record_is_looked_up_with_the_key_that_it_was_made_with(open_harness: Open) -> None:
    # given a call of one team's key that the worker was lost in
    harness = open_harness(onemin_async=True, onemin_api_key=TWO_TEAMS)
    job_id = harness.accept()
    made = harness.context.keys[0]
    lose_in_a_call(harness, harness.provider.record(is_async=True)["uuid"])
    # when a worker claims it with the other key, which has rested longer
    do_next_jobs(harness.context)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    assert asked_with(harness) == {made.secret[-4:]}


def asked_with(harness: WorkerHarness) -> set[str]:
    """Return the ends of the keys with which records were looked up."""
    return {call["key"] for call in harness.provider.calls() if call["kind"] == "result"}


def gate_of(harness: WorkerHarness) -> set[str]:
    return {str(name) for name in harness.world.client.hkeys(keys.gate())}


def test_an_image_is_looked_up_with_the_key_of_its_own_call_and_not_of_one_before(
    open_harness: Open,
) -> None:
    # given a call that failed, and one with the key of another team, whose URL is not served
    harness = open_harness(onemin_api_key=TWO_TEAMS)
    harness.provider.behave({"fault": "status", "status": 500}, {"fault": "url_expired"})
    # when
    job = harness.run()
    # then
    first, second = (call["key"] for call in harness.provider.calls() if call["kind"] == "generate")
    assert first != second
    assert asked_with(harness) == {second}
    assert (job.calls, job.regenerated) == (2, 0)


def test_a_look_up_that_is_refused_blames_its_own_key_and_waits(open_harness: Open) -> None:
    # given a record of a key that is revoked before it is looked up
    harness = open_harness(onemin_async=True, onemin_api_key=TWO_TEAMS)
    job_id = harness.accept()
    lose_in_a_call(harness, harness.provider.record(is_async=True)["uuid"])
    made, well = harness.context.keys
    harness.provider.good_keys([well.secret])
    # when
    do_next_jobs(harness.context)
    # then
    assert f"dead:{made.id}" in gate_of(harness)
    assert f"dead:{well.id}" not in gate_of(harness)
    job = harness.job(job_id)
    assert (job.state, job.attempt, job.unknown_outcomes) == (State.QUEUED, 0, 0)
    assert job.due_at is not None
    # and when
    harness.provider.good_keys(None)
    harness.finish(job_id)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    assert harness.paid() == 1


def test_a_look_up_that_succeeds_shows_nothing_about_the_key_of_the_claim(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(onemin_async=True, onemin_api_key=TWO_TEAMS)
    job_id = harness.accept()
    lose_in_a_call(harness, harness.provider.record(is_async=True)["uuid"])
    _, other = harness.context.keys
    failures = f"fails:key:{other.id}"
    harness.world.client.hset(keys.gate(), failures, "1")
    # when
    do_next_jobs(harness.context)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    assert failures in gate_of(harness)


def test_a_record_is_looked_up_with_a_usable_key_of_the_same_team(open_harness: Open) -> None:
    # given
    harness = open_harness(onemin_async=True, onemin_api_key="red:key-rrrr,red:key-ssss")
    job_id = harness.accept()
    lose_in_a_call(harness, harness.provider.record(is_async=True)["uuid"])
    made, other = harness.context.keys
    harness.world.store.run(maintenance.report_signal(Signal.key_dead(made.id)))
    # when
    do_next_jobs(harness.context)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    assert asked_with(harness) == {other.secret[-4:]}


@pytest.mark.parametrize(
    ("on_unknown", "meant"),
    [(OnUnknown.FAIL, (State.FAILED, 1, 1)), (OnUnknown.RETRY, (State.SUCCEEDED, 2, 1))],
)
def test_a_record_that_another_team_does_not_find_leaves_an_unknown_outcome(
    open_harness: Open, on_unknown: OnUnknown, meant: tuple[State, int, int]
) -> None:
    # given a record whose key has been removed
    harness = open_harness(onemin_async=True, onemin_api_key=TWO_TEAMS)
    job_id = harness.accept(spec=spec(on_unknown=on_unknown), credits=3)
    lose_in_a_call(harness, UNKNOWN_RECORD)
    harness.context = harness.open_context(onemin_api_key="blue:key-bbbb")
    [left] = harness.context.keys
    # when
    harness.finish(job_id)
    # then
    assert outcome(job_id, harness) == meant
    assert spent(harness) == Spending(meant[1], 3 * meant[1])
    assert f"fails:key:{left.id}" not in gate_of(harness)
