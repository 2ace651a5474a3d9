"""A claim's cost in Redis with more tenants, and with more waiting webhooks."""

from collections.abc import Callable, Sequence
from itertools import count
from statistics import median
from typing import Any

from bench.series import Point
from shared.jobs import JobSpec
from shared.store import deliveries, job_submission, transitions
from shared.store.command import Command
from tests.support.growth import fill, run_many, usual_spec
from tests.support.store import KEYS, World

#: Claims in one round trip, and how often.
HANDFUL, ROUNDS = 10, 30
JOBS = 10_000
HOSTS = 50
_NONCES = count()


def by_tenants(world: World, tenants: Sequence[int]) -> list[Point]:
    """Return the microseconds of a claim among 10,000 jobs, by the number of tenants."""
    return [(size, _fresh(world, _queued(size), _claim)) for size in tenants]


def by_deliveries(world: World, waiting: Sequence[int]) -> list[Point]:
    """Return the microseconds of a delivery's claim for 50 hosts, by the number waiting."""
    return [(size, _fresh(world, _with_deliveries(size), _claim_delivery)) for size in waiting]


def _fresh(
    world: World, prepare: Callable[[World], object], claim: Callable[[], Command[Any]]
) -> float:
    world.client.flushall()
    prepare(world)
    times = []
    for _ in range(ROUNDS):
        world.client.config_resetstat()
        run_many(world, [claim() for _ in range(HANDFUL)])
        times.append(float(world.client.info("commandstats")["cmdstat_fcall"]["usec_per_call"]))
    return median(times)


def _queued(tenants: int) -> Callable[[World], object]:
    return lambda world: fill(world, JOBS, tenants)


def _with_deliveries(waiting: int) -> Callable[[World], object]:
    def add_deliveries(world: World) -> None:
        jobs = fill(world, waiting + HANDFUL * ROUNDS, 10, spec=_with_webhook, host=_host)
        for start in range(0, len(jobs), 500):
            some = jobs[start : start + 500]
            run_many(
                world, [job_submission.cancel(job_id, tenant=tenant) for job_id, tenant in some]
            )

    return add_deliveries


def _host(number: int) -> str:
    return f"host-{number % HOSTS}.example.com"


def _with_webhook(number: int) -> JobSpec:
    usual = usual_spec(number)
    hook = {"url": f"https://{_host(number)}/hook", "events": ["job.canceled"]}
    return JobSpec(usual.model, usual.input, webhook=hook)


def _claim() -> Command[Any]:
    return transitions.claim(f"bench-{next(_NONCES)}", lease_seconds=60, keys=KEYS)


def _claim_delivery() -> Command[Any]:
    return deliveries.claim_delivery(f"bench-{next(_NONCES)}", lease_seconds=60)
