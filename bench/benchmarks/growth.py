"""Row 8: a call's cost in Redis, and a job's memory, as the queue grows to a million."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.claims import by_deliveries, by_tenants
from bench.results import Goal, Line, Row, must_equal
from bench.run import Run
from bench.series import Curves, Point
from shared.store import keys
from tests.support.growth import Backlog, Times, fill, used
from tests.support.servers import redis_server
from tests.support.store import World

NUMBER = 8
TITLE = "costs with a growing queue"
SMALL = 1_000
SIZES = (10_000, 100_000, 1_000_000)
TENANTS = 1_000
#: Rounds of 20 calls of each kind at each size; each round at the small queue too.
ROUNDS = 100
GOAL = Goal(1.3, 1.1, at_most=True)
#: What each kind of call, named as its Lua function, is in the report.
SHOWN = {"accept": "accept", "claim": "claim", "read_job": "read", "find_jobs": "list of 50"}


@dataclass(frozen=True)
class Growth:
    """The ratio of each kind of call at the largest queue, ratios by size, and bytes per job."""

    at_last: Mapping[str, Sequence[float]]
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
        Line(NUMBER, f"{shown}, 1,000,000 ÷ 1,000", "", _thirds(growth.at_last[name]), GOAL)
        for name, shown in SHOWN.items()
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
    per_job = 0.0
    for size in SIZES:
        large.jobs += fill(many, size - len(large.jobs), TENANTS)
        per_job = (used(many) - empty) / size
        rounds = _compared(Backlog(few, jobs=SMALL, tenants=4), large)
        for name in SHOWN:
            by_size[name].append((size, median(rounds[name])))
        told = ", ".join(f"{shown} {median(rounds[name]):.2f}" for name, shown in SHOWN.items())
        run.say(f"  {size:,} queued: {told}, {per_job:,.0f} bytes a job")
        few.client.flushall()
    return Growth(rounds, by_size, per_job)


def _thirds(values: Sequence[float]) -> list[float]:
    """Return the median of each third of the rounds, because other rows have three rounds."""
    third = len(values) // 3
    return [median(values[start : start + third]) for start in range(0, 3 * third, third)]


def _drawn(growth: Growth, claims: Mapping[str, Sequence[Point]]) -> list[Curves]:
    title = "Time in Redis, against a queue of 1,000"
    across = "jobs queued, of 1,000 tenants"
    lines = {SHOWN[name]: points for name, points in growth.by_size.items()}
    more = "tenants of 10,000 jobs; webhooks that wait"
    return [
        Curves("growth-queue.svg", title, across, "times", lines),
        Curves("growth-claims.svg", "Time of a claim in Redis", more, "µs", claims),
    ]


@contextmanager
def _diskless(place: Path) -> Iterator[World]:
    """Return a world on a Redis without persistence and memory limit: no disk is measured."""
    with redis_server(place, "--appendonly", "no", "--maxmemory", "0") as server:
        world = World(server.url, max_queue=10**9)
        yield world
        world.close()


def _compared(small: Backlog, large: Backlog) -> Mapping[str, Sequence[float]]:
    """Let both take turns; return the ratio of each kind of call, round by round."""
    before = {one.kind: len(one.each) for one in large.times()}
    for _ in range(ROUNDS):
        small.round()
        large.round()
    few, many = _by_kind(small.times()), _by_kind(large.times())
    return {
        kind: [b / a for a, b in zip(few[kind], many[kind][before.get(kind, 0) :], strict=True)]
        for kind in few
    }


def _by_kind(times: Sequence[Times]) -> dict[str, Sequence[float]]:
    return {one.kind: one.each for one in times}
