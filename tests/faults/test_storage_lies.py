"""Row 20: the storage says that it kept an image and did not, or sends another."""

from collections.abc import Iterator

import pytest

from sandbox.wait import wait_until
from shared.errors import ErrorCode
from shared.jobs import State
from tests.faults.conftest import Audit, Tell
from tests.faults.injection import lying
from tests.faults.service import Service, service
from tests.support import lying_storage as lies
from tests.support.lying_storage import Lie

pytestmark = pytest.mark.xdist_group("faults-3")

JOBS = 8


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("lies"), workers=1, concurrency=JOBS) as running:
        yield running


@pytest.mark.parametrize(
    "lie",
    [
        lies.keeps_nothing,
        lies.keeps_half,
        pytest.param(lies.keeps_other_bytes_without_etag, marks=pytest.mark.long),
        pytest.param(lies.wrong_etag, marks=pytest.mark.long),
        pytest.param(lies.error_in_a_200, marks=pytest.mark.long),
    ],
)
def test_what_the_storage_did_not_keep_is_stored_again_unpaid(
    here: Service, audit: Audit, tell: Tell, lie: Lie
) -> None:
    # given
    here.wait_until_whole()
    with lying(here) as liar:
        liar.lie("PUT", lie)
        # when
        jobs = here.create_many(JOBS)
        wait_until(lambda: liar.lies > 0, "the first lie")
        wait_until(lambda: here.slots() == (0, 0), "threads that are free")
        # then
        assert State.SUCCEEDED not in {here.job(one).state for one in jobs}
        told = liar.lies
    # and when the storage is honest again
    done = here.wait_for_end(jobs)
    # then
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, here.paid(job.id)) for job in done} == {(1, 1)}
    assert {job.last_error_code for job in done} <= {None, ErrorCode.STORAGE_DOWN}
    audit(here, jobs)
    tell(20, f"storage {lie.__name__.replace('_', ' ')}", jobs=JOBS, lies=told)


def test_an_image_that_the_storage_damages_is_not_given(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.wait_until_whole()
    job_id = here.create()
    here.wait_for_end([job_id])
    path = f"/v1/jobs/{job_id}/image"
    whole = here.http.get(path).content
    with lying(here) as liar:
        for damage in lies.DAMAGES:
            liar.lie("GET", damage)
            # when
            answer = here.http.get(path)
            # then
            assert (answer.status_code, answer.json()["code"]) == (502, "image_damaged")
        told = liar.lies
    assert here.http.get(path).content == whole
    audit(here, [job_id])
    tell(20, "storage sends other bytes", lies=told)
