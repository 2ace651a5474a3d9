"""Row 8: what a call costs Redis, and a job of its memory, as the queue grows to a million."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench.curves import Curves
from bench.figures import Goal, Line, Row, must_equal
from bench.run import Run
from tests.growth import Backlog, Times, fill, used
from tests.servers import redis_server
from tests.store import World

NUMBER = 8
TITLE = "what grows with the queue"
SMALL = 1_000
SIZES = (10_000, 100_000, 1_000_000)
TENANTS = 1_000
#: Rounds of 20 calls of each kind at each size; each round at the small queue too.
ROUNDS = 150
GOAL = Goal(1.3, 1.1, at_most=True)
_SHOWN = {"accept": "accept", "claim": "claim", "read": "read", "list": "list of 50"}


def measure(run: Run) -> Row:
    """Let a queue grow beside one that stays small, and compare what the same calls take."""
    with ExitStack() as stack:
        few = stack.enter_context(_diskless(run.directory / "few"))
        many = stack.enter_context(_diskless(run.directory / "many"))
        empty = used(many)
        ratios: dict[str, list[tuple[float, float]]] = {name: [(SMALL, 1.0)] for name in _SHOWN}
        large = Backlog(many, jobs=SMALL, tenants=TENANTS)
        per_job = 0.0
        for size in SIZES:
            large.jobs += fill(many, size - len(large.jobs), TENANTS, name="t")
            per_job = (used(many) - empty) / size
            rounds = _compared(Backlog(few, jobs=SMALL, tenants=4), large)
            for name in _SHOWN:
                ratios[name].append((size, median(rounds[name])))
            told = ", ".join(f"{name} {median(rounds[name]):.2f}" for name in _SHOWN)
            run.say(f"  {size:,} queued: {told}, {per_job:,.0f} bytes a job")
            few.client.flushall()
        queued = int(many.client.hget("{dr}:counts", "queued") or 0)
        must_equal(queued, SIZES[-1], "jobs queued at the end")
    lines = [
        Line(NUMBER, f"{_SHOWN[name]}, 1,000,000 ÷ 1,000", "", [ratios[name][-1][1]], GOAL)
        for name in _SHOWN
    ]
    memory = Line(NUMBER, "Redis a queued job", "bytes", [per_job], Goal(2000, 1200, at_most=True))
    lines_by_name = {_SHOWN[name]: points for name, points in ratios.items()}
    drawn = Curves(
        "growth-queue.svg",
        "Time in Redis, against a queue of 1,000",
        "jobs queued, of 1,000 tenants",
        "times",
        lines_by_name,
    )
    checked = "a million are queued at the end"
    return Row(NUMBER, TITLE, [*lines, memory], checked, curves=[drawn])


@contextmanager
def _diskless(place: Path) -> Iterator[World]:
    """Give a world on a Redis that keeps nothing and has no limit: disks are not what grows."""
    with redis_server(place, "--appendonly", "no", "--maxmemory", "0") as server:
        world = World(server.url, max_queue=10**9)
        yield world
        world.close()


def _compared(small: Backlog, large: Backlog) -> Mapping[str, Sequence[float]]:
    """Let both take turns; gives the ratio of each kind of call, round by round."""
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
