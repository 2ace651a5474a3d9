"""Row 17: one tenant floods, or fifty do; somebody else's single job is next all the same."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.jobs import Job, JobSpec
from shared.store import job_submission
from shared.store.provisioning import provision_tenant
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.service import Service, service
from tests.support.growth import fill, run_many, usual_spec

pytestmark = pytest.mark.xdist_group("faults-2")

WORKERS, THREADS = 2, 4
SLOTS = WORKERS * THREADS
LATENCY_SECONDS = 0.6
#: Single jobs sent into each flood, and calls seen after the last.
SINGLES, CALLS = 5, 4 * SLOTS
#: The share of all slots' time that the provider must be at work while there is a backlog, where
#: `--timed` says that the machine is free. The rest is the way from one job to the next: download,
#: upload, claim.
WORKED = 0.85


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    where = tmp_path_factory.mktemp("floods")
    with service(where, workers=WORKERS, concurrency=THREADS) as running:
        running.provider.behave(latency_seconds=LATENCY_SECONDS)
        yield running


@dataclass
class Flood:
    """Jobs of others, by what they ask for, and the provider's calls since they came."""

    service: Service
    jobs: Mapping[str, tuple[str, str]]
    before: int

    @classmethod
    @contextmanager
    def over(cls, service: Service, *, jobs: int, tenants: int) -> Iterator["Flood"]:
        """Let a flood in; in the end what is left of it is canceled, as an operator would."""
        name = f"flood-{tenants}-"

        def spec(number: int) -> JobSpec:
            usual = usual_spec(number)
            prompt = f"{name}{number}"
            return JobSpec(usual.model, {**usual.input, "prompt": prompt, "megapixels": "0.25"})

        before = len(service.provider.calls())
        made = fill(service.world, jobs, tenants, name=name, spec=spec)
        named = {f"{name}{number}": one for number, one in enumerate(made)}
        try:
            yield cls(service, named, before)
        finally:
            run_many(
                service.world, [job_submission.cancel(one, tenant=tenant) for one, tenant in made]
            )

    def calls(self) -> list[dict[str, Any]]:
        """Return the provider's generate calls since the flood came, the first first."""
        calls = self.service.provider.calls()[self.before :]
        return [call for call in calls if call["kind"] == "generate"]

    def job(self, call: Mapping[str, Any]) -> Job:
        job_id, tenant = self.jobs[call["prompt"]]
        return self.service.world.read(job_id, tenant).job

    def wait_for_calls(self, more: int) -> None:
        count = len(self.calls()) + more
        wait_until(lambda: len(self.calls()) >= count, f"{more} calls", seconds=30)


def slots_before(flood: Flood, job: Job) -> int:
    """Count the calls of others that began before the job's, of those claimed after it came.

    What was claimed before it came had its slot already.
    """
    mine = str(job.spec.input["prompt"])
    came = [call["prompt"] for call in flood.calls()]
    others = [call for call in flood.calls()[: came.index(mine)] if call["prompt"] in flood.jobs]
    return sum((flood.job(call).claimed_at or 0) > job.created_at for call in others[-2 * SLOTS :])


def claims_before(flood: Flood, job: Job) -> int:
    """Count the jobs of others that were claimed between when the job came and its claim."""
    others = [call for call in flood.calls() if call["prompt"] in flood.jobs]
    claims = [flood.job(call).claimed_at or 0 for call in others[-4 * SLOTS :]]
    return sum(job.created_at < at < (job.claimed_at or 0) for at in claims)


def most_at_once(flood: Flood) -> int:
    """Return the most calls that the provider had in work at once."""
    began = [datetime.fromisoformat(call["at"]).timestamp() for call in flood.calls()]
    return max(sum(at <= now < at + LATENCY_SECONDS for at in began) for now in began)


def worked(flood: Flood) -> float:
    """Return the share of all slots' time in which the provider worked, by its own call log.

    From the call that filled the last slot on, to the last call.
    """
    began = sorted(datetime.fromisoformat(call["at"]).timestamp() for call in flood.calls())
    first, last = began[SLOTS - 1], began[-1]
    spans = [(max(at, first), min(at + LATENCY_SECONDS, last)) for at in began]
    return sum(max(end - begin, 0) for begin, end in spans) / (SLOTS * (last - first))


def send_one(here: Service, tenant: str) -> Job:
    """Ask for one image as a tenant that never asked before; return its job once it is claimed."""
    key = provision_tenant(here.world.store, tenant, by="test").api_key
    told = {"Authorization": f"Bearer {key}"}
    made = here.http.post("/v1/jobs", json=here.body(word="single"), headers=told)
    job_id = made.json()["id"]
    wait_until(lambda: bool(here.calls([job_id])), "the call of a single job", seconds=30)
    return here.job(str(job_id))


def survive(here: Service, flood: Flood, in_time: InTime) -> tuple[list[str], dict[str, object]]:
    """Send single jobs into a flood; return them, and what was seen."""
    wait_until(lambda: len(flood.calls()) >= SLOTS, "a flood at work", seconds=30)
    singles, slots, claims = [], [], []
    for number in range(SINGLES):
        job = send_one(here, f"single-{uuid.uuid4().hex[:8]}-{number}")
        singles.append(job.id)
        slots.append(slots_before(flood, job))
        claims.append(claims_before(flood, job))
    flood.wait_for_calls(CALLS)
    part, most = worked(flood), most_at_once(flood)
    # by Redis' word none waits for a third; a thread can be late between its claim and its call
    assert max(claims) <= 2, (claims, slots)
    assert sorted(slots)[SINGLES // 2] <= 2, (claims, slots)
    # more than one worker's slots were busy at once; how long they were depends on the machine
    assert THREADS < most <= SLOTS, (most, part)
    in_time(WORKED, part)
    return singles, {
        "slots before it": slots,
        "provider at work": f"{part:.0%} of all slots' time",
        "at once": most,
    }


@pytest.mark.parametrize("tenants", [pytest.param(1, marks=pytest.mark.slow), 50])
@pytest.mark.parametrize("jobs", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_single_job_waits_two_slots_at_most_while_others_flood(
    here: Service, audit: Audit, tell: Tell, in_time: InTime, jobs: int, tenants: int
) -> None:
    with Flood.over(here, jobs=jobs, tenants=tenants) as flood:
        singles, seen = survive(here, flood, in_time)
    here.wait_for_end(singles)
    audit(here, singles)
    tell(17, f"{jobs} queued for {tenants}", **seen)


def test_a_flood_at_its_cap_leaves_no_slot_idle(
    here: Service, audit: Audit, tell: Tell, in_time: InTime
) -> None:
    # given a flood that may run one, in front of another that may run all
    here.world.limit("flood-1-0", max_running=1)
    with (
        Flood.over(here, jobs=200, tenants=1) as capped,
        Flood.over(here, jobs=500, tenants=50) as flood,
    ):
        # when
        singles, seen = survive(here, flood, in_time)
        mine = [capped.job(call) for call in capped.calls() if call["prompt"] in capped.jobs]
    here.world.limit("flood-1-0", max_running=None)
    # then it had its one slot, and never two
    turns = sorted((job.claimed_at or 0, job.finished_at or inf) for job in mine)
    assert turns
    assert all(end <= begin for (_, end), (begin, _) in pairwise(turns))
    here.wait_for_end(singles)
    audit(here, singles)
    tell(17, "one at its cap beside 50", turns_of_the_capped=len(turns), **seen)
