"""Row 4: jobs per second with a provider that takes half a second, and memory per job."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from bench import targets
from bench.burst import Target, burst
from bench.interleave import Rounds
from bench.results import Goal, Line, Row
from bench.run import Run
from bench.service import Provider, Service, provider_of, service

NUMBER = 4
TITLE = "jobs per second with a provider latency of 500 ms, and memory per job in flight"
LATENCY_SECONDS = 0.5
AT_ONCE = 64
#: Processes of prefork; its rate grows with memory, so it is scaled to the memory that ours takes.
PROCESSES = 16
#: Enough for some seconds of steady work.
JOBS = {PROCESSES: 130, AT_ONCE: 640}
MEGABYTE = 1_000_000
OURS, PREFORK = "Darkroom", "Celery prefork, same memory"
GEVENT, TASKIQ = "Celery gevent", "taskiq"
_GOALS = {PREFORK: Goal(3, None), GEVENT: Goal(1, None), TASKIQ: Goal(1, None)}


def measure(run: Run) -> Row:
    """Fill the queue and measure the steady part of the throughput."""
    with ExitStack() as stack:
        names = ("api", "generate-1", "provider")
        ours = stack.enter_context(service(run.directory / "ours", *names, concurrency=AT_ONCE))
        provider = provider_of(ours)
        stack.callback(provider.close)
        provider.behave(LATENCY_SECONDS)

        def peer(name: str, kind: str, *words: str) -> Target:
            return stack.enter_context(targets.theirs(run.directory / name, kind, ours, *words))

        at_once, tasks = str(AT_ONCE), "--max-async-tasks"
        places = {
            OURS: targets.ours(ours),
            PREFORK: peer("prefork", "celery", "-c", str(PROCESSES)),
            GEVENT: peer("gevent", "celery", "-P", "gevent", "-c", at_once),
            TASKIQ: peer("taskiq", "taskiq", "--workers", "1", tasks, at_once),
        }
        rounds = run.interleave(
            {
                name: partial(
                    _measure, door, ours, provider, PROCESSES if name == PREFORK else AT_ONCE
                )
                for name, door in places.items()
            }
        )
    told = [rounds.middle(name, "MB") for name in places]
    held = (
        "memory: a worker with 64 threads holds {:.0f} MB, prefork with 16 processes {:.0f} MB, "
        "gevent {:.0f} MB, taskiq {:.0f} MB"
    )
    checked = "each job is one paid call and one object"
    return Row(NUMBER, TITLE, _lines(rounds), checked, [held.format(*told)])


def _lines(rounds: Rounds) -> list[Line]:
    rate, memory = rounds.of(OURS, "jobs/s"), rounds.of(OURS, "MB")
    theirs = {name: rounds.of(name, "jobs/s") for name in _GOALS}
    theirs[PREFORK] = [
        jobs * ours_mb / mb
        for jobs, mb, ours_mb in zip(theirs[PREFORK], rounds.of(PREFORK, "MB"), memory, strict=True)
    ]
    most = AT_ONCE / LATENCY_SECONDS
    each = [value / AT_ONCE for value in memory]
    return [
        *(
            Line(NUMBER, "jobs per second", "/s", rate, goal, name, theirs[name])
            for name, goal in _GOALS.items()
        ),
        Line(
            NUMBER,
            "share of concurrency ÷ latency",
            "",
            [one / most for one in rate],
            Goal(None, 0.95),
        ),
        Line(NUMBER, "memory per job in flight", "MB", each, Goal(4, 2, at_most=True)),
    ]


def _measure(
    door: Target, beside: Service, provider: Provider, at_once: int
) -> Mapping[str, float]:
    found = burst(door, beside, provider, JOBS[at_once])
    return {"jobs/s": found.rate, "MB": found.worker_bytes / MEGABYTE}
