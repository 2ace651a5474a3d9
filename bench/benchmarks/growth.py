"""Row 8: what a caller waits, a call's cost in Redis, and the memory of a job, by queue length."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import allocator
from bench.claims import by_deliveries, by_tenants
from bench.results import Goal, Line, Row, must_equal
from bench.run import Run
from bench.series import Curves, Point
from shared.store import keys
from tests.support.growth import Backlog, Callers, Times, api_process, fill, used
from tests.support.servers import redis_server
from tests.support.store import World

NUMBER = 8
TITLE = "costs with a growing queue"
SMALL = 1_000
SIZES = (10_000, 100_000, 1_000_000)
#: As many in the small queue: each of its tenants has enough jobs for a list of 50.
TENANTS = 20
#: Rounds of 20 calls of each kind at each size; each round at the small queue too.
ROUNDS = 100
#: Rounds in which a caller makes one call of each kind.
CALLER_ROUNDS = 300
GOAL = Goal(1.3, 1.1, at_most=True)
#: What each kind of call, named as its Lua function, is in the report.
SHOWN = {"accept": "accept", "claim": "claim", "read_job": "read", "find_jobs": "list of 50"}
#: The same as their callers name them.
CALLED = {"POST": "accept", "claim": "claim", "GET": "read", "list": "list of 50"}


@dataclass(frozen=True)
class Growth:
    """The ratio of each kind of call at the largest queue, ratios by size, and bytes per job."""

    at_last: Mapping[str, Sequence[float]]
    waited: Mapping[str, Sequence[float]]
    by_size: Mapping[str, Sequence[Point]]
    bytes_a_job: float


def measure(run: Run) -> Row:
    """Let a queue grow beside a small one, and compare the time of the same calls."""
    with ExitStack() as stack:
        few = stack.enter_context(_diskless(run.directory / "few"))
        many = stack.enter_context(_diskless(run.directory / "many"))
        growth = _grow(run, few, many)
        queued = int(many.client.hget(keys.counts(), "queued") or 0)
        must_equal(queued, SIZES[-1], "jobs queued at the end")
        claims = {
            "a job, by tenants": by_tenants(few, (10, 100, 1_000)),
            "a webhook": by_deliveries(few, (100, 1_000, 10_000)),
        }
    lines = [
        Line(NUMBER, f"{shown}, {what}, 1,000,000 ÷ 1,000", "", _thirds(ratios[name]), GOAL)
        for what, ratios, names in (
            ("as a caller waits", growth.waited, CALLED),
            ("in Redis", growth.at_last, SHOWN),
        )
        for name, shown in names.items()
    ]
    used_up = [growth.bytes_a_job]
    lines.append(
        Line(
            NUMBER, "Redis memory per queued job", "bytes", used_up, Goal(2000, 1200, at_most=True)
        )
    )
    checked = "a million jobs are queued at the end"
    return Row(NUMBER, TITLE, lines, checked, curves=_drawn(growth, claims))


def _grow(run: Run, few: World, many: World) -> Growth:
    empty = used(many)
    by_size: dict[str, list[Point]] = {name: [(SMALL, 1.0)] for name in SHOWN}
    large = Backlog(many, jobs=SMALL, tenants=TENANTS)
    rounds: Mapping[str, Sequence[float]] = {}
    waited: Mapping[str, Sequence[float]] = {}
    per_job = 0.0
    for size in SIZES:
        large.jobs += fill(many, size - len(large.jobs), TENANTS)
        per_job = (used(many) - empty) / size
        small = Backlog(few, jobs=SMALL, tenants=TENANTS)
        rounds = _compared(small, large)
        for name in SHOWN:
            by_size[name].append((size, median(rounds[name])))
        told = ", ".join(f"{shown} {median(rounds[name]):.2f}" for name, shown in SHOWN.items())
        run.say(f"  {size:,} queued: {told}, {per_job:,.0f} bytes a job")
        if size == SIZES[-1]:
            waited = _waited(run, small, large)
        few.client.flushall()
    return Growth(rounds, waited, by_size, per_job)


def _waited(run: Run, small: Backlog, large: Backlog) -> Mapping[str, Sequence[float]]:
    """Let a caller of an API process ask both in turns; return the ratio of each kind of call."""
    with ExitStack() as stack:
        few, many = (
            Callers(one, stack.enter_context(api_process(one.world, run.directory / f"{name}.log")))
            for name, one in (("few", small), ("many", large))
        )
        for number in range(CALLER_ROUNDS):
            # each is first in every other round: the first one waits for processes to wake
            for one in (few, many)[:: 1 if number % 2 == 0 else -1]:
                one.round()
    return _ratios(few.times(), many.times())


def _thirds(values: Sequence[float]) -> list[float]:
    """Return the median of each third of the rounds, because other rows have three rounds."""
    third = len(values) // 3
    return [median(values[start : start + third]) for start in range(0, 3 * third, third)]


def _drawn(growth: Growth, claims: Mapping[str, Sequence[Point]]) -> list[Curves]:
    title = "Time in Redis, against a queue of 1,000"
    across = f"jobs queued, of {TENANTS} tenants"
    lines = {SHOWN[name]: points for name, points in growth.by_size.items()}
    more = "tenants of 10,000 jobs; webhooks that wait"
    return [
        Curves("growth-queue.svg", title, across, "times", lines),
        Curves("growth-claims.svg", "Time of a claim in Redis", more, "µs", claims),
    ]


@contextmanager
def _diskless(place: Path) -> Iterator[World]:
    """Return a world on a Redis without persistence and memory limit: no disk is measured."""
    options = ("--appendonly", "no", "--maxmemory", "0")
    with redis_server(place, *options, environment=allocator.preloaded()) as server:
        world = World(server.url, max_queue=10**9)
        yield world
        world.close()


def _compared(small: Backlog, large: Backlog) -> Mapping[str, Sequence[float]]:
    """Let both take turns; return the ratio of each kind of call, round by round.

    Each finds the processor's cache as the other has left it.
    """
    for _ in range(ROUNDS):
        small.round()
        large.round()
    return _ratios(small.times(), large.times())


def _ratios(small: Sequence[Times], large: Sequence[Times]) -> dict[str, list[float]]:
    """Return the ratio of each kind of call in each round of `small`, the last ones of `large`."""
    many = {one.kind: one.each for one in large}
    return {
        few.kind: [b / a for a, b in zip(few.each, many[few.kind][-len(few.each) :], strict=True)]
        for few in small
    }
