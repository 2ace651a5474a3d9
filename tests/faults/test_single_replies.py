"""Row 11: one reply of the provider that is none, or means something else than it says.

Row 21: one that is another job's, or says that something else was made.
"""

from collections.abc import Iterator, Mapping

import pytest

from shared.jobs import State
from tests.faults.conftest import Audit, Tell
from tests.faults.memory import growing
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-4")

PROVIDER_SECONDS = 3
#: Far less than the huge reply has.
GROWTH_BYTES = 40_000_000

#: State, error, attempts, paid.
MADE = ("succeeded", None, 1, 1)
MADE_LATER = ("succeeded", None, 2, 1)
PAID_TWICE = ("succeeded", None, 2, 2)
REJECTED = ("failed", "provider_rejected", 1, 0)

#: What is met, what becomes of the job, and its unknown outcomes.
REPLIES: Mapping[str, tuple[Mapping[str, object], tuple[str, str | None, int, int], int]] = {
    "hangs": ({"fault": "hang", "seconds": 2 * PROVIDER_SECONDS}, PAID_TWICE, 1),
    "522, made": ({"fault": "made_but_522"}, PAID_TWICE, 1),
    "504, made": ({"fault": "made_but_522", "status": 504}, PAID_TWICE, 1),
    "malformed": ({"fault": "malformed"}, PAID_TWICE, 1),
    "empty": ({"fault": "empty"}, PAID_TWICE, 1),
    "huge": ({"fault": "huge_reply", "bytes": 100_000_000}, PAID_TWICE, 1),
    "without an address": ({"fault": "missing_url"}, PAID_TWICE, 1),
    "without an address, once": ({"fault": "missing_url", "times": 1}, MADE, 0),
    "FAILURE": ({"fault": "failure_record"}, REJECTED, 0),
    "busy over a refusal": ({"fault": "misleading_busy"}, REJECTED, 0),
    "busy over 503": ({"fault": "misleading_busy", "status": 503}, MADE_LATER, 0),
    "busy over nothing": ({"fault": "misleading_busy", "details": False}, MADE_LATER, 0),
    "406, then credits": ({"fault": "status", "status": 406, "retry_after": 0}, MADE, 0),
}

#: What is met, what becomes of the job, its unknown outcomes, and the warnings on its image.
WRONG: Mapping[str, tuple[Mapping[str, object], tuple[str, str | None, int, int], int, str]] = {
    "the record of another job": ({"fault": "repeat_record"}, PAID_TWICE, 1, ""),
    "the URL of another job": ({"fault": "repeat_url"}, PAID_TWICE, 1, ""),
    "another prompt": ({"fault": "echo", "prompt": "Something else"}, MADE, 0, "prompt"),
    "another seed": ({"fault": "echo", "seed": 1234}, MADE, 0, "seed"),
    "another model": ({"fault": "echo", "model": "another/model"}, MADE, 0, "model"),
    "several results": ({"fault": "echo", "results": 2}, MADE, 0, "record"),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    quick = {"DARKROOM_PROVIDER_TIMEOUT_SECONDS": str(PROVIDER_SECONDS)}
    where = tmp_path_factory.mktemp("replies")
    with service(where, workers=1, concurrency=4, **quick) as running:
        # the first image brings the worker to its usual size
        running.wait_for_end([running.create()])
        yield running


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_is_taken_for_what_it_is(
    here: Service, audit: Audit, tell: Tell, reply: str
) -> None:
    # given
    step, meant, unknown = REPLIES[reply]
    # when
    with growing(here.pid("generate-1")) as growth:
        job_id = here.create_meeting(step)
        outcome = here.outcome(job_id)
    # then
    assert outcome == meant
    assert growth.bytes < GROWTH_BYTES
    job = here.job(job_id)
    assert job.unknown_outcomes == unknown
    assert bool(here.stored(job_id)) == (job.state is State.SUCCEEDED)
    audit(here, [job_id])
    paid = here.paid(job_id)
    tell(11, f"reply: {reply}", attempts=job.attempt, paid=paid, unknown=unknown, grew=growth)


@pytest.mark.parametrize("reply", WRONG)
def test_a_reply_that_is_another_jobs_is_not_given_out_and_other_differences_are_warnings(
    here: Service, audit: Audit, tell: Tell, reply: str
) -> None:
    # given
    step, meant, unknown, warnings = WRONG[reply]
    (before,) = here.wait_for_end([here.create()])
    # when
    job_id = here.create_meeting(step)
    outcome = here.outcome(job_id)
    # then
    assert outcome == meant
    job = here.job(job_id)
    assert job.unknown_outcomes == unknown
    assert job.image is not None
    assert before.image is not None
    assert " ".join(job.image.warnings) == warnings
    assert job.image.sha256 != before.image.sha256
    assert job.record_id != before.record_id
    audit(here, [job_id, before.id])
    tell(21, reply, attempts=job.attempt, paid=here.paid(job_id), unknown=unknown)
