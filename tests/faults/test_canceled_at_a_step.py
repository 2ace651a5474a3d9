"""Row 16: a job is canceled while its worker stands at each step, and nothing is left of it."""

from collections.abc import Iterator

import pytest

from sandbox.waiting import wait_until
from shared.jobs import State
from tests.faults.conftest import Audit, Tell
from tests.faults.service import Service, service
from tests.faults.traps import Trap

pytestmark = pytest.mark.xdist_group("faults-1")

#: Step, and the calls that were paid for by then.
STEPS = {
    "before claim": 0,
    "after claim": 0,
    "before calling": 0,
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
    # given
    here.traps.set(Trap(step, "pause"))
    job_id = here.create()
    wait_until(lambda: here.traps.sprung, "a worker at the step")
    # when
    answer = here.http.post(f"/v1/jobs/{job_id}/cancel")
    # then
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    wait_until(lambda: here.slots() == (0, 0), "the slot")
    # and when the worker goes on
    here.traps.clear()
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
    here.traps.set(Trap("after checkpoint", "pause"))
    job_id = here.create()
    wait_until(lambda: here.traps.sprung, "a worker at the step")
    here.http.post(f"/v1/jobs/{job_id}/cancel")
    # when it is sent again while the first worker still stands there
    again = here.http.post(f"/v1/jobs/{job_id}/retry")
    assert again.status_code == 200
    (job,) = here.wait_for_end([job_id])
    here.traps.clear()
    # then
    assert (job.state, job.run, here.paid(job_id)) == (State.SUCCEEDED, 2, 1)
    audit(here, [job_id])
    tell(16, "canceled after the call, sent again", paid=1)
