"""The experimental mode in which the provider's record settles what became of a call."""

from sandbox.wait import wait_until
from shared.jobs import OnUnknown, State
from shared.store import keys, transitions
from tests.integration.conftest import Open
from tests.support.worker_harness import WorkerHarness, at_work, spec
from worker.generate import do_next_job


def outcome(job_id: str, harness: WorkerHarness) -> tuple[State, int, int]:
    job = harness.job(job_id)
    return job.state, job.calls, job.unknown_outcomes


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
    do_next_job(harness.context)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    assert harness.paid() == 1


def test_a_record_that_the_provider_does_not_know_means_that_nothing_was_made(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(onemin_async=True)
    job_id = harness.accept()
    held = harness.world.claim(lease_seconds=0, keys=tuple(harness.context.keys))
    harness.world.call(held)
    harness.world.store.run(
        transitions.record_submitted(held, "b2c3d4e5-f6a7-8901-bcde-f12345678901")
    )
    harness.world.rescue()
    # when
    do_next_job(harness.context)
    # then
    assert harness.job(job_id).state is State.SUCCEEDED
    assert harness.paid() == 1


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
    harness = open_harness(onemin_async=True, onemin_api_key="red:key-rrrr,blue:key-bbbb")
    job_id = harness.accept()
    made = harness.context.keys[0]
    held = harness.world.claim(lease_seconds=0, keys=(made,))
    harness.world.call(held)
    record = harness.provider.record(is_async=True)
    harness.world.store.run(transitions.record_submitted(held, record["uuid"]))
    harness.world.rescue()
    # when a worker claims it with the other key, which has rested longer
    do_next_job(harness.context)
    # then
    assert outcome(job_id, harness) == (State.SUCCEEDED, 1, 0)
    asked = {call["key"] for call in harness.provider.calls() if call["kind"] == "result"}
    assert asked == {made.secret[-4:]}
