"""Row 7: 2,000 clients wait, each for its own job, and 100 jobs per second end."""

import resource
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles

import psutil
import redis

from bench.interleave import Rounds
from bench.peer_environments import API_KEY, PEERS, peer
from bench.results import Goal, Line, Row, less
from bench.run import Run
from bench.series import Curves
from bench.service import TENANT, Service, service
from bench.usage import cpu_seconds
from bench.waiting_clients import WaitingClients, wait_in_crowd
from sandbox.devstack.plan import Kind
from shared.store import job_submission
from tests.support.growth import run_many, usual_spec
from tests.support.store import FAR

NUMBER = 7
TITLE = "2,000 clients wait for their jobs, of which 100 per second end"
CLIENTS = 2_000
SIZES = (100, 500, CLIENTS)
ENDS = 400
RATE = 100.0
OURS, PUBSUB, POLLING = "Darkroom", "one subscription per client", "polling every second"
#: The share of one processor below which a process counts as only waiting.
_QUIET = 0.1


@dataclass(frozen=True)
class Target:
    """A system under test: its processes, and how jobs are created, waited for and ended."""

    url: str
    api: int
    redis: int
    redis_port: int
    make: Callable[[int], list[str]]
    path: str
    key: str
    end: Callable[[str], object]
    every: float | None = None


def measure(run: Run) -> Row:
    """Let three crowds of clients wait in turn."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        ours = _ours(stack.enter_context(service(run.directory / "ours", "api")))
        pubsub = stack.enter_context(_peer(run.directory / "pubsub", "/jobs/{}/wait"))
        polling = stack.enter_context(_peer(run.directory / "polling", "/jobs/{}", every=1.0))
        by_size = [(size, _measure(ours, size)) for size in SIZES[:-1]]
        places = {OURS: ours, PUBSUB: pubsub, POLLING: polling}
        rounds = run.interleave(
            {name: partial(_measure, place, CLIENTS) for name, place in places.items()}
        )
    by_size.append((CLIENTS, {name: rounds.middle(OURS, name) for name in ("p50", "p99")}))
    drawn = Curves(
        "growth-waiting.svg",
        "100 jobs end a second: time to notify",
        "clients that wait",
        "ms",
        {name: [(size, one[name]) for size, one in by_size] for name in ("p50", "p99")},
    )
    links = rounds.middle(PUBSUB, "links")
    notes = [f"a subscription per client means {links:,.0f} connections to Redis"]
    checked = "exactly the clients whose job ended were notified"
    return Row(NUMBER, TITLE, _lines(rounds), checked, notes, [drawn])


def _lines(rounds: Rounds) -> list[Line]:
    def ours(what: str, unit: str, figure: str, goal: Goal) -> Line:
        return Line(NUMBER, what, unit, rounds.of(OURS, figure), goal)

    def beside(what: str, unit: str, figure: str, peer: str, goal: Goal | None = None) -> Line:
        found, theirs = rounds.of(OURS, figure), rounds.of(peer, figure)
        return Line(NUMBER, what, unit, found, goal, peer, theirs, less)

    notify, memory, used = "time to notify, p99", "memory per waiting client", "CPU, API and Redis"
    return [
        ours(notify, "ms", "p99", Goal(None, 50, at_most=True)),
        ours("connections to Redis", "", "links", Goal(4, None, at_most=True)),
        ours(memory, "kB", "kB", Goal(None, 10, at_most=True)),
        beside(used, "%", "CPU", POLLING, Goal(3, None)),
        beside(used, "%", "CPU", PUBSUB),
        beside(notify, "ms", "p99", PUBSUB),
        beside(notify, "ms", "p99", POLLING),
        beside(memory, "kB", "kB", PUBSUB),
    ]


@contextmanager
def _peer(directory: Path, path: str, *, every: float | None = None) -> Iterator[Target]:
    with (
        peer(directory) as running,
        running.front("pubsub_front", PEERS) as (url, front),
        running.client() as client,
    ):
        info = client.info("server")
        yield Target(
            url=url,
            api=front.pid,
            redis=int(info["process_id"]),
            redis_port=int(info["tcp_port"]),
            make=partial(_make_theirs, client),
            path=path,
            key=API_KEY,
            end=partial(_end_theirs, client),
            every=every,
        )


def _ours(running: Service) -> Target:
    world = running.world
    (api,), (valkey,) = running.pids(Kind.API), running.pids(Kind.REDIS)

    def make(count: int) -> list[str]:
        jobs = [world.new_job(TENANT, spec=usual_spec(number)) for number in range(count)]
        run_many(world, [job_submission.accept(job, not_after_ms=FAR) for job in jobs])
        return [job.id for job in jobs]

    end = partial(world.cancel, tenant=TENANT)
    port = running.plan.ports.redis
    path = "/v1/jobs/{}?wait=60"
    return Target(running.url, api, valkey, port, make, path, running.api_key, end)


def _make_theirs(client: "redis.Redis", count: int) -> list[str]:
    ids = [uuid.uuid4().hex for _ in range(count)]
    with client.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hset(f"job:{job_id}", "status", "queued")
        pipe.execute()
    return ids


def _end_theirs(client: "redis.Redis", job_id: str) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(f"job:{job_id}", "status", "canceled")
        pipe.publish(f"done:{job_id}", "canceled")
        pipe.execute()


def _measure(place: Target, clients: int) -> Mapping[str, float]:
    ids = place.make(clients)
    head = f"HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {place.key}\r\n\r\n"
    requests = [f"GET {place.path.format(job_id)} {head}".encode() for job_id in ids]
    process = psutil.Process(place.api)
    before = process.memory_info().rss
    waiting: dict[str, float] = {}

    def all_wait() -> None:
        _settle(place)
        waiting["kB"] = max(0, process.memory_info().rss - before) / clients / 1000
        waiting["links"] = float(_links(process, place.redis_port))
        waiting["cpu"], waiting["at"] = cpu_seconds([place.api, place.redis]), time.perf_counter()

    crowd = WaitingClients(place.url, requests, place.every)
    count = min(ENDS, clients)
    took = wait_in_crowd(
        crowd, lambda n: place.end(ids[n]), count=count, rate=RATE, when_all_wait=all_wait
    )
    used = cpu_seconds([place.api, place.redis]) - waiting["cpu"]
    share = used / (time.perf_counter() - waiting["at"])
    cents = quantiles(took, n=100, method="inclusive")
    return {
        "p50": cents[49] * 1000,
        "p99": cents[98] * 1000,
        "kB": waiting["kB"],
        "CPU": share * 100,
        "links": waiting["links"],
    }


def _settle(place: Target) -> None:
    """Wait until the process only waits; one that is polled has then answered every client."""
    if place.every:
        time.sleep(place.every)
        return
    share = 1.0
    while share > _QUIET:
        before = cpu_seconds([place.api])
        time.sleep(0.3)
        share = (cpu_seconds([place.api]) - before) / 0.3


def _links(process: psutil.Process, port: int) -> int:
    return sum(bool(one.raddr) and one.raddr.port == port for one in process.net_connections("tcp"))
