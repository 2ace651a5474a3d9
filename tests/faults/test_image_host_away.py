"""Row 22: the image host is away, ill or not consistent while the provider's API is well."""

import time
from collections.abc import Iterator, Mapping

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from shared.store import keys
from tests.faults.conftest import Audit, Tell
from tests.faults.injection import for_seconds
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-3")

THREADS = 8
JOBS = 30
#: The longest wait of a paid job for its image host, and the time of a fetch.
RETURN_SECONDS = 60.0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    quick = {"DARKROOM_DOWNLOAD_TIMEOUT_SECONDS": "1"}
    where = tmp_path_factory.mktemp("images")
    with service(where, workers=1, concurrency=THREADS, **quick) as running:
        running.provider.behave(latency_seconds=0.2)
        yield running


def is_held(here: Service) -> bool:
    return bool(here.world.client.hexists(keys.gate(), "hold:image_host"))


@pytest.mark.parametrize(
    ("state", "seconds", "jobs"),
    [
        ({"state": "refuse"}, 4.0, JOBS),
        pytest.param({"state": "status", "status": 503}, 4.0, JOBS, marks=pytest.mark.slow),
        pytest.param({"state": "hang"}, 4.0, JOBS, marks=pytest.mark.slow),
        pytest.param({"state": "refuse"}, 60.0, 250, marks=pytest.mark.long),
        pytest.param({"state": "status", "status": 503}, 60.0, 250, marks=pytest.mark.long),
        pytest.param({"state": "hang"}, 60.0, 250, marks=pytest.mark.long),
        pytest.param({"state": "status", "status": 404}, 30.0, 250, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_paid_images_wait_for_their_host_and_nothing_more_is_bought(
    here: Service,
    audit: Audit,
    tell: Tell,
    state: Mapping[str, object],
    seconds: float,
    jobs: int,
) -> None:
    # given
    here.wait_until_whole()
    here.provider.images(**state)
    # when
    began = time.monotonic()
    asked = here.create_many(jobs)
    wait_until(lambda: is_held(here), "new calls to be held", seconds=15)
    held = len(here.calls(asked))
    for_seconds(max(seconds - (time.monotonic() - began), 1.0), lambda: None)
    bought = len(here.calls(asked))
    told = [here.http.get(f"/v1/jobs/{one}").json() for one in asked]
    here.provider.images()
    back = time.monotonic()
    # then
    assert bought <= held + THREADS, "only what was at the provider by then"
    assert {one["status"] for one in told} <= {"queued", "running"}
    assert "image_host" in {one["waiting_on"] for one in told}
    done = here.wait_for_end(asked, seconds=2 * RETURN_SECONDS)
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, job.regenerated, here.paid(job.id)) for job in done} == {(1, 0, 1)}
    audit(here, asked)
    tell(
        22,
        f"image host {state} for {seconds:g} s",
        jobs=jobs,
        paid=len(here.calls(asked)),
        bought_meanwhile=bought,
        all_final_after=time.monotonic() - back,
    )


def test_urls_that_are_not_served_for_their_first_seconds_cost_no_second_call(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.wait_until_whole()
    here.provider.images(missing_seconds=2)
    # when
    asked = here.create_many(JOBS)
    done = here.wait_for_end(asked, seconds=2 * RETURN_SECONDS)
    here.provider.images()
    # then
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, job.regenerated, here.paid(job.id)) for job in done} == {(1, 0, 1)}
    audit(here, asked)
    tell(22, "404 on URLs of two seconds", jobs=JOBS, paid=len(here.calls(asked)))
