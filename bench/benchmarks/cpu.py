"""Row 5: CPU per job in all of Darkroom's processes, with images of 450 kB."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import targets
from bench.baseline import bare
from bench.burst import Target, burst
from bench.results import Goal, Line, Row
from bench.run import Run
from bench.service import Provider, Service, provider_of, service

NUMBER = 5
TITLE = "CPU per job in API, worker and Redis; images of 450 kB, no provider latency"
JOBS = 500
IMAGE_BYTES = 450_000
OURS, BARE, STOCK = "Darkroom", "POST, GET, PUT in a loop", "stock Celery"


def measure(run: Run) -> Row:
    """Fill the queue and sum the CPU time until all jobs are done."""
    with ExitStack() as stack:
        names = ("api", "generate-1", "provider")
        ours = stack.enter_context(service(run.directory / "ours", *names))
        provider = provider_of(ours)
        stack.callback(provider.close)
        provider.behave(0, image_bytes=IMAGE_BYTES)
        stock = stack.enter_context(
            targets.theirs(run.directory / "celery", "celery", ours, stock="1")
        )
        door = targets.ours(ours)
        for one in (door, stock):
            burst(one, ours, provider, 40)
        rounds = run.interleave(
            {
                OURS: partial(_measure, door, ours, provider),
                BARE: partial(_bare, run.directory / "bare", ours),
                STOCK: partial(_measure, stock, ours, provider),
            }
        )
    goals = {BARE: Goal(2.5, 1.6, at_most=True), STOCK: Goal(0.2, 0.1, at_most=True)}
    used = rounds.of(OURS, "CPU ms")
    lines = [
        Line(NUMBER, "CPU per job", "ms", used, goal, name, rounds.of(name, "CPU ms"))
        for name, goal in goals.items()
    ]
    return Row(NUMBER, TITLE, lines, "each job is one paid call and one object")


def _measure(door: Target, beside: Service, provider: Provider) -> Mapping[str, float]:
    found = burst(door, beside, provider, JOBS)
    return {"CPU ms": found.cpu_seconds / JOBS * 1000, "jobs/s": found.rate}


def _bare(directory: Path, beside: Service) -> Mapping[str, float]:
    return {"CPU ms": bare(directory, beside, JOBS).cpu_seconds * 1000}
