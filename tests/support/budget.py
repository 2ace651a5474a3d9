"""What one job costs, counted from its accept to its end, while nothing else runs."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from sandbox.provider.server import running
from tests.integration.rclone import counting
from tests.integration.sandbox_client import steered
from tests.support.servers import S3Server
from tests.support.worker_harness import WorkerHarness, settings_for
from tests.support.worker_process import Worker, worker

END = "the end of what is watched"
#: The functions that a job needs, each a round trip; then a worker blocks for its next permit.
JOB = ("accept", "claim", "start_call", "checkpoint", "succeed")
PERMIT = "BRPOP"
KOMBU = "kombu"
#: The functions that run whether or not there are jobs, and those that the test itself calls.
HOUSEKEEPING = (
    *("read_job", "renew", "sweep", "advance_batch", "delete_expired", "object_deletions"),
    *("register_keys", "read_signing_keys", "read_stored_keys"),
)


@dataclass(frozen=True, slots=True)
class SentCommand:
    """One command that came to Redis from outside; a script by its name."""

    said: str
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What one job cost."""

    #: by name, of those that belong to the job
    commands: Counter[str]
    bytes_sent: int
    #: anything else that was sent to Redis meanwhile
    others: Counter[str]
    #: by method
    s3: Counter[str]
    provider: Sequence[tuple[str, str, bool]]
    new_connections: int

    @property
    def round_trips(self) -> int:
        """How often something was sent to Redis and waited for: each command went alone."""
        return self.commands.total()


def cost_of_a_job(redis_url: str, s3: S3Server, directory: Path) -> Cost:
    """Run a worker that has done a few jobs, and count what one more costs."""
    s3_lines: list[str] = []
    with (
        running() as url,
        steered(url) as provider,
        counting(urlsplit(url).port or 0, []) as provider_port,
        counting(s3.port, s3_lines) as s3_port,
    ):
        harness = WorkerHarness(redis_url, s3, provider)
        told = settings_for(
            s3,
            f"http://127.0.0.1:{provider_port}",
            s3_endpoint=f"127.0.0.1:{s3_port}",
            redis_url=redis_url,
            provider_rate_per_minute=0,
            # long enough that no periodic call is counted
            lease_seconds=60,
        )
        with worker(directory, told, threads=1) as one:
            for _ in range(3):
                _do_one(harness)
            before = _connections(one)
            provider.delete_calls()
            del s3_lines[:]
            with _watched(harness) as sent:
                _do_one(harness)
            after = _connections(one)
        harness.close()
        # periodic calls at the same time may have opened connections to Redis
        redis_port = urlsplit(redis_url).port
        mine = {*(f"script {name}" for name in JOB), PERMIT}
        return Cost(
            commands=Counter(one.said for one in sent if one.said in mine),
            bytes_sent=sum(one.bytes for one in sent if one.said in mine),
            others=Counter(one.said for one in sent if one.said not in mine),
            s3=Counter(line.split(" ")[0] for line in s3_lines),
            provider=provider.outcomes(),
            new_connections=len({link for link in after - before if link[1] != redis_port}),
        )


def _do_one(harness: WorkerHarness) -> None:
    assert harness.wait_for_end(harness.accept()).image is not None


@contextmanager
def _watched(harness: WorkerHarness) -> Iterator[list[SentCommand]]:
    """Record all that reaches Redis from outside while the block runs."""
    sent: list[SentCommand] = []
    world = harness.world
    names = {world.scripts.function(name): name for name in (*JOB, *HOUSEKEEPING)}
    begun = threading.Event()

    def watch() -> None:
        with world.client.monitor() as monitor:
            begun.set()
            for command in monitor.listen():
                text = str(command["command"])
                if text.endswith(END):
                    return
                if command["client_type"] != "lua":
                    sent.append(SentCommand(_named(text, names), len(text)))

    thread = threading.Thread(target=watch)
    thread.start()
    begun.wait(5)
    try:
        yield sent
    finally:
        world.client.echo(END)
        thread.join(10)


def _named(command: str, scripts: Mapping[str, str]) -> str:
    first, *words = command.split(" ")
    name = first.upper()
    if name == "FCALL":
        return f"script {scripts.get(words[0], '?')}"
    # kombu binds its queues when it starts and now and then again, by a script or in a transaction
    return KOMBU if "_kombu" in command or name in {"MULTI", "EXEC", "SCRIPT"} else name


def _connections(one: Worker) -> set[tuple[int, int]]:
    found = psutil.Process(one.pid).net_connections("tcp")
    return {(link.laddr.port, link.raddr.port) for link in found if link.raddr}
