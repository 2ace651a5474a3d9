"""The trace that a job is part of: kept where there is one, and handed on to what it owes."""

from dataclasses import replace
from typing import Any

import pytest

from shared.store import deliveries, job_submission, keys, transitions
from shared.store.job_submission import Accepted
from tests.support.store import FAR, World

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WEBHOOK = {"url": "https://x.example/", "events": ["job.succeeded"]}
NOTIFIED: dict[str, Any] = {"webhook": WEBHOOK, "webhook_host": "x.example"}


def fields(world: World, job_id: str) -> set[str]:
    return {str(name) for name in world.client.hkeys(keys.job(job_id))}


def test_a_job_keeps_its_trace_through_every_attempt_and_tells_it_with_its_webhook(
    world: World,
) -> None:
    job_id = world.accept(trace=TRACE, **NOTIFIED)

    world.retry(world.claim())
    second = world.claim()
    world.finish(second)

    assert second.job.trace == TRACE
    assert world.read(job_id).job.trace == TRACE
    assert world.delivery().trace == TRACE


def test_a_job_of_no_trace_has_no_byte_more(world: World) -> None:
    plain, traced = world.accept(), world.accept(trace=TRACE)

    assert fields(world, traced) - fields(world, plain) == {"trace"}
    assert world.read(plain).job.trace is None


@pytest.mark.parametrize("trace", [None, TRACE])
def test_jobs_of_one_request_have_one_trace(world: World, trace: str | None) -> None:
    asked = world.together(2, trace=trace)

    answer = world.store.run(job_submission.accept_group(asked, not_after_ms=FAR))

    assert isinstance(answer, Accepted)
    for job in asked.jobs:
        assert world.read(job.id).job.trace == trace
        assert ("trace" in fields(world, job.id)) is (trace is not None)


@pytest.mark.parametrize("trace", [None, TRACE])
def test_a_batch_and_its_jobs_have_one_trace(world: World, trace: str | None) -> None:
    jobs = [world.new_job(trace=trace, **NOTIFIED), world.new_job(trace=trace)]
    jobs[1] = replace(jobs[1], spec=replace(jobs[1].spec, tags=("a", "b")))

    batch_id = world.batch(*jobs, trace=trace)

    state = world.batch_state(batch_id)
    assert state is not None
    assert state.batch.trace == trace
    assert [world.read(job.id).job.trace for job in jobs] == [trace, trace]
    assert world.read(jobs[1].id).job.spec.tags == ("a", "b")
    held = world.claim()
    assert isinstance(held, transitions.Claim)
    world.finish(held)
    assert isinstance(found := world.delivery(), deliveries.Delivery)
    assert found.trace == trace
