"""Row 16: a job is canceled at each step of its worker; every other wish meets every state."""

from collections.abc import Iterator, Mapping

import httpx
import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from shared.store import keys
from tests.faults.conftest import Audit, Tell
from tests.faults.crash_points import Trap
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-1")

#: Step, and the calls that were paid for by then.
STEPS = {
    "before claim": 0,
    "after claim": 0,
    "before start_call": 0,
    # it has passed the last look: the call is made all the same
    "before provider": 1,
    "after provider": 1,
    "after checkpoint": 1,
    "after download": 1,
    "before put": 1,
    "after put": 1,
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("cancel"), workers=1) as running:
        running.provider.behave(latency_seconds=0.05)
        yield running


@pytest.mark.parametrize("step", STEPS)
def test_a_job_is_canceled_at_each_step_and_its_slot_is_free(
    here: Service, audit: Audit, tell: Tell, step: str
) -> None:
    # given: before the claim any thread may come, since the sweep makes good for one that stands
    here.crash_points.set(Trap(step, "pause", always=step == "before claim"))
    job_id = here.create()
    wait_until(lambda: here.crash_points.sprung, "a worker at the step")
    # when
    answer = here.http.post(f"/v1/jobs/{job_id}/cancel")
    # then
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    wait_until(lambda: here.slots() == (0, 0), "the slot")
    # and when the worker goes on
    here.crash_points.clear()
    here.wait_for_end([here.create()])
    audit(here, [job_id])
    job = here.job(job_id)
    assert job.state is State.CANCELED
    paid = here.paid(job_id)
    assert paid == STEPS[step]
    assert here.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 409
    tell(16, f"canceled {step}", paid=paid)


def test_a_canceled_job_that_was_bought_is_sent_again_unpaid(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.crash_points.set(Trap("after checkpoint", "pause"))
    job_id = here.create()
    wait_until(lambda: here.crash_points.sprung, "a worker at the step")
    here.http.post(f"/v1/jobs/{job_id}/cancel")
    # when it is sent again while the first worker still stands there
    again = here.http.post(f"/v1/jobs/{job_id}/retry")
    assert again.status_code == 200
    (job,) = here.wait_for_end([job_id])
    here.crash_points.clear()
    # then
    assert (job.state, job.run, here.paid(job_id)) == (State.SUCCEEDED, 2, 1)
    audit(here, [job_id])
    tell(16, "canceled after the call, sent again", paid=1)


PAUSED = frozenset({"queued", "canceled"})
#: What is answered to each wish in each state.
WISHES: Mapping[str, Mapping[str, int]] = {
    "queued": {"retry": 409, "reproduce": 202, "delete": 409, "cancel": 200},
    "running": {"retry": 409, "reproduce": 202, "delete": 409, "cancel": 200},
    "succeeded": {"cancel": 409, "retry": 409, "reproduce": 202, "delete": 204},
    "failed": {"cancel": 409, "retry": 200, "reproduce": 202, "delete": 204},
    "canceled": {"cancel": 409, "retry": 200, "reproduce": 202, "delete": 204},
}


def pause(here: Service, *, wanted: bool) -> None:
    """Let no job begin, or let them begin again."""
    gate = here.world.client
    if wanted:
        gate.hset(keys.gate(), "paused:generate", "1")
    else:
        gate.hdel(keys.gate(), "paused:generate")


def brought_to(here: Service, state: str) -> str:
    """Return a job in this state; where it is queued or canceled, the queue is paused."""
    pause(here, wanted=state in PAUSED)
    if state == "running":
        return here.create_meeting({"fault": "ok", "latency_seconds": 1})
    here.provider.behave({"fault": "failure_record"} if state == "failed" else "ok")
    job_id = here.create()
    if state == "canceled":
        here.http.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    elif state != "queued":
        here.wait_for_end([job_id])
    return job_id


def wish(here: Service, job_id: str, what: str) -> httpx.Response:
    method, end = ("DELETE", "") if what == "delete" else ("POST", f"/{what}")
    return here.http.request(method, f"/v1/jobs/{job_id}{end}")


@pytest.mark.parametrize("state", WISHES)
def test_each_wish_in_each_state_is_answered_as_promised_and_holds_no_slot(
    here: Service, audit: Audit, tell: Tell, state: str
) -> None:
    # given
    jobs: set[str] = set()
    answers: dict[str, int] = {}
    # when
    for what in WISHES[state]:
        job_id = brought_to(here, state)
        assert here.http.get(f"/v1/jobs/{job_id}").json()["status"] == state
        if (what, WISHES[state][what]) == ("delete", 204):
            continue
        answer = wish(here, job_id, what)
        answers[what] = answer.status_code
        jobs |= {job_id, str(answer.json().get("id", job_id))}
        if state not in PAUSED:
            here.wait_for_end(jobs)
    pause(here, wanted=False)
    # then
    assert answers.items() <= WISHES[state].items()
    here.wait_for_end(jobs)
    audit(here, jobs)
    tell(16, f"wishes to a job that is {state}", **answers)


def test_a_final_job_that_is_deleted_is_gone_and_its_image_with_it(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # the last of this service: its metrics count what is no longer there
    for state in ("succeeded", "failed", "canceled"):
        job_id = brought_to(here, state)
        keys = set(here.stored(job_id))
        assert len(keys) == (state == "succeeded")
        assert wish(here, job_id, "delete").status_code == WISHES[state]["delete"]
        assert here.http.get(f"/v1/jobs/{job_id}").status_code == 404
        # in this order: the sweep may take it from both in between
        is_canceled_by_batch = here.world.object_deletions()
        assert set(here.stored(job_id)) <= set(is_canceled_by_batch)
        assert wish(here, job_id, "delete").status_code == 404
    pause(here, wanted=False)
    wait_until(lambda: here.slots() == (0, 0), "the slots")
    tell(16, "deleted in each final state", answers=204, then=404)
