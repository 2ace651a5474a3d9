"""What a call costs Redis as the work grows, and what a job takes of its memory."""

import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

import httpx

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http
from shared.jobs import JobSpec
from shared.store import job_queries, job_submission, keys, transitions
from shared.store.command import Command
from shared.store.provisioning import provision_tenant
from tests.support.servers import ACCESS_KEY, SECRET_KEY
from tests.support.store import FAR, KEYS, World, list_jobs
from tests.support.tls import TLS
from tests.support.worker_process import environment

T = TypeVar("T")

#: Accepts in one round trip while a backlog is made.
CHUNK = 500
PROMPT = (
    "A red bicycle number {number} leaning against a white wall, product photograph, soft light"
    " from the left, three quarter view, no text"
)
MODEL = "black-forest-labs/flux-2-klein-9b"


def usual_spec(number: int) -> JobSpec:
    """Write a request as the API does: with every parameter and a prompt of 130 characters."""
    asked: Mapping[str, Any] = {
        "prompt": PROMPT.format(number=number),
        "aspect_ratio": "1:1",
        "output_format": "webp",
        "output_quality": 80,
        "num_inference_steps": 4,
        "go_fast": True,
        "megapixels": "1",
        "disable_safety_checker": False,
        "seed": 1_000_000_000 + number,
    }
    return JobSpec(MODEL, asked)


def fill(
    world: World,
    jobs: int,
    tenants: int,
    *,
    name: str = "t",
    spec: Callable[[int], JobSpec] = usual_spec,
    host: Callable[[int], str] = lambda _: "",
) -> list[tuple[str, str]]:
    """Queue so many jobs, spread over tenants, in few round trips; return (job, tenant) of each."""
    world.store.run(job_queries.service_stats())  # Redis knows the scripts from here on
    made = []
    numbers = iter(range(jobs))
    while chunk := list(itertools.islice(numbers, CHUNK)):
        new = [
            world.new_job(f"{name}{one % tenants}", spec=spec(one), webhook_host=host(one))
            for one in chunk
        ]
        run_many(world, [job_submission.accept(one, not_after_ms=FAR) for one in new])
        made += [(one.id, one.tenant) for one in new]
    return made


def run_many(world: World, calls: Sequence[Command[Any]]) -> list[Any]:
    """Run calls in one round trip, and return their results; raise the first error.

    The world has run one before: Redis knows the scripts.
    """
    with world.client.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command("FCALL", world.scripts.function(call.script), 0, *call.args)
        replies = pipe.execute()
    return [call.read(reply) for call, reply in zip(calls, replies, strict=True)]


def used(world: World) -> int:
    """Return the bytes that Redis uses, without those for its clients."""
    told = world.client.info("memory")
    return int(told["used_memory"]) - int(told["mem_clients_normal"])


def finish_all(world: World) -> None:
    """Run all queued jobs to their end, one after the other."""
    while isinstance(held := world.try_claim(), transitions.Claim):
        world.finish(held)


def delete_short_lived_keys(world: World) -> None:
    """Delete what does not grow with the jobs: claims for a minute, old notifications."""
    passing = list(world.client.scan_iter("[{]dr}:claim:*", count=1000))
    world.client.delete(keys.notifications(), "{dr}:celery:generate", *passing)


def commands(world: World, work: Callable[[], object]) -> dict[str, int]:
    """Count the commands that a piece of work sends to Redis, and those of its scripts."""
    world.client.config_resetstat()
    work()
    stats = world.client.info("commandstats")
    told = {str(name).removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    return {name: calls for name, calls in told.items() if name.split("|")[0] not in _OURS}


_OURS = {"config", "info", "client", "hello", "ping"}


@dataclass(frozen=True)
class Times:
    """Microseconds that calls of a kind took: in Redis, the mean of each handful, or in all."""

    kind: str
    each: Sequence[float]

    @property
    def p50(self) -> float:
        return median(self.each)

    @property
    def p99(self) -> float:
        return quantiles(self.each, n=100)[98]


#: Calls of a kind in one round trip, as the API sends those of many clients: the first call
#: of a process that has just woken depends more on the machine than on the call.
HANDFUL = 20


class Backlog:
    """A world with a backlog, which each round of calls leaves as large as it was."""

    def __init__(self, world: World, *, jobs: int, tenants: int) -> None:
        self.world = world
        self.tenants = tenants
        self.jobs = fill(world, jobs, tenants)
        self._dice = random.Random(5)
        self._numbers = itertools.count(jobs)
        self._times: dict[str, list[float]] = {}

    def round(self) -> None:
        """Make a handful of calls of each kind, and note the time they took Redis."""
        new = [self._new_job(number) for number in itertools.islice(self._numbers, HANDFUL)]
        some = self._dice.sample(self.jobs, HANDFUL)
        self._timed([job_submission.accept(one, not_after_ms=FAR) for one in new])
        self._timed([job_queries.read_job(job_id, tenant=tenant) for job_id, tenant in some])
        self._timed(
            [list_jobs(one, job_queries.Filter(), limit=50, scan_limit=1000) for _, one in some[:4]]
        )
        held = self._timed([transitions.claim(one.id, lease_seconds=60, keys=KEYS) for one in new])
        claimed = [(one.job.id, one.job.tenant) for one in held]
        run_many(self.world, [job_submission.cancel(one, tenant=whose) for one, whose in claimed])
        # read only jobs that are queued: others have no position, and cost less
        canceled = set(claimed)
        self.jobs = [one for one in self.jobs if one not in canceled]
        self.jobs += [(one.id, one.tenant) for one in new]

    def times(self) -> list[Times]:
        return [Times(kind, each) for kind, each in self._times.items()]

    def _new_job(self, number: int) -> job_submission.NewJob:
        return self.world.new_job(f"t{number % self.tenants}", spec=usual_spec(number))

    def _timed(self, calls: Sequence[Command[Any]]) -> list[Any]:
        self.world.client.config_resetstat()
        answers = run_many(self.world, calls)
        ran = self.world.client.info("commandstats")["cmdstat_fcall"]
        assert ran["calls"] == len(calls)
        self._times.setdefault(calls[0].script, []).append(ran["usec_per_call"])
        return answers


class Callers:
    """Programs that ask an API process for jobs of a backlog, and a worker that claims one."""

    def __init__(self, backlog: Backlog, url: str) -> None:
        self._world = backlog.world
        self._clients = {
            f"t{number}": httpx.Client(
                base_url=url, headers=self._opened(f"t{number}"), timeout=30, verify=TLS
            )
            for number in range(min(backlog.tenants, 4))
        }
        self._mine = [one for one in backlog.jobs if one[1] in self._clients]
        self._dice = random.Random(7)
        self._times: dict[str, list[float]] = {}

    def round(self) -> None:
        """Ask for a job, read one with its position, list 50 and claim one, one at a time."""
        job_id, tenant = self._dice.choice(self._mine)
        client = self._clients[tenant]
        body = {"input": {"prompt": PROMPT}}
        made = self._timed("POST", lambda: client.post("/v1/jobs", json=body))
        assert made.status_code == 202, made.text
        self._timed("GET", lambda: client.get(f"/v1/jobs/{job_id}").raise_for_status())
        self._timed("list", lambda: client.get("/v1/jobs?limit=50").raise_for_status())
        job = self._timed("claim", self._world.claim).job
        self._world.cancel(job.id, tenant=job.tenant)
        self._mine = [one for one in self._mine if one[0] != job.id]
        self._mine.append((made.json()["id"], tenant))

    def times(self) -> list[Times]:
        return [Times(kind, each) for kind, each in self._times.items()]

    def _opened(self, tenant: str) -> dict[str, str]:
        key = provision_tenant(self._world.store, tenant, by="test").api_key
        return {"authorization": f"Bearer {key}"}

    def _timed(self, kind: str, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        answer = work()
        self._times.setdefault(kind, []).append((time.perf_counter() - began) * 1e6)
        return answer


@contextmanager
def api_process(world: World, log: Path) -> Iterator[str]:
    """Serve a world's Redis by an API process; return its address."""
    port = free_port()
    told = {
        "redis_url": world.settings.redis_url,
        "max_queue": world.settings.max_queue,
        "s3_access_key": ACCESS_KEY,
        "s3_secret_key": SECRET_KEY,
    }
    where = ("--http", "api.server:LimitedHttpProtocol", "--port", str(port), "--no-access-log")
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app", *where]
    with Child(command, log, environment=environment(told)):
        wait_for_http(f"http://127.0.0.1:{port}/healthz", status=200, seconds=60)
        yield f"http://127.0.0.1:{port}"


def table(small: Sequence[Times], large: Sequence[Times]) -> str:
    """Set the times at two sizes side by side."""
    lines = [f"{'':<8}{'p50':>8}{'p99':>8}{'p50':>8}{'p99':>8}{'ratio of p50':>14}"]
    for few, many in zip(small, large, strict=True):
        ratio = many.p50 / few.p50
        times = "".join(f"{one:>8.0f}" for one in (few.p50, few.p99, many.p50, many.p99))
        lines.append(f"{few.kind:<8}{times}{ratio:>14.2f}")
    return "\n".join(lines)
