"""The experimental mode in which the provider's record settles what became of a call."""

from sandbox.waiting import wait_until
from shared.jobs import OnUnknown, State
from shared.store import moves
from tests.integration.conftest import Open
from tests.workshop import Workshop, at_work, spec
from worker.generate import do_next_job


def outcome(job_id: str, workshop: Workshop) -> tuple[State, int, int]:
    job = workshop.job(job_id)
    return job.state, job.calls, job.unknown_outcomes


def test_a_job_is_submitted_polled_and_paid_once(open_workshop: Open) -> None:
    workshop = open_workshop(onemin_async=True)
    workshop.provider.behave(latency_seconds=0.2)

    job = workshop.run()

    assert outcome(job.id, workshop) == (State.SUCCEEDED, 1, 0)
    assert workshop.paid() == 1
    assert workshop.asked("result")[-1] == "ok"


def test_a_worker_lost_in_the_middle_of_a_call_pays_once(open_workshop: Open) -> None:
    # given a worker that was lost when the provider had begun
    workshop = open_workshop(onemin_async=True)
    job_id = workshop.accept(spec=spec(on_unknown=OnUnknown.FAIL))
    held = workshop.world.claim(lease_seconds=0, keys=tuple(workshop.room.keys))
    workshop.world.call(held)
    record = workshop.provider.record(is_async=True)
    workshop.world.store.run(moves.submitted(held, record["uuid"]))
    workshop.world.rescue()
    # when another takes the job
    do_next_job(workshop.room)
    # then
    assert outcome(job_id, workshop) == (State.SUCCEEDED, 1, 0)
    assert workshop.paid() == 1


def test_a_record_that_the_provider_does_not_know_means_that_nothing_was_made(
    open_workshop: Open,
) -> None:
    # given
    workshop = open_workshop(onemin_async=True)
    job_id = workshop.accept()
    held = workshop.world.claim(lease_seconds=0, keys=tuple(workshop.room.keys))
    workshop.world.call(held)
    workshop.world.store.run(moves.submitted(held, "b2c3d4e5-f6a7-8901-bcde-f12345678901"))
    workshop.world.rescue()
    # when
    do_next_job(workshop.room)
    # then
    assert workshop.job(job_id).state is State.SUCCEEDED
    assert workshop.paid() == 1


def test_a_picture_that_is_not_ready_in_time_is_looked_up_again_and_not_bought_again(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(onemin_async=True, provider_timeout_seconds=0.8)
    workshop.provider.behave({"fault": "stuck", "seconds": 0.9})

    job = workshop.run()

    assert outcome(job.id, workshop) == (State.SUCCEEDED, 1, 0)
    assert job.attempt > 1
    assert workshop.paid() == 1


def test_a_stop_while_a_record_is_waited_for_gives_the_job_back_with_its_record(
    open_workshop: Open,
) -> None:
    # given a picture that takes longer than the thread is waited for
    workshop = open_workshop(onemin_async=True, provider_timeout_seconds=60)
    workshop.provider.behave({"fault": "stuck", "seconds": 30})
    job_id = workshop.accept()
    with at_work(workshop.room):
        wait_until(lambda: bool(workshop.asked("result")), "the look at the record")
        # when
        workshop.room.stopping.set()
    # then
    job = workshop.job(job_id)
    assert (job.state, job.attempt, job.unknown_outcomes) == (State.QUEUED, 0, 0)
    assert job.pending_record is not None
    assert workshop.slots() == (0, 0)
    assert workshop.world.client.hget("{dr}:gate", "fails") is None
