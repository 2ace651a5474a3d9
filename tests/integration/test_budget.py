"""What one job costs in round trips, end to end, in a quiet world. Numbers, not timings."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from sandbox.provider.server import running
from tests.crew import Worker, worker
from tests.integration.rclone import counting
from tests.integration.sandbox_client import steered
from tests.servers import S3Server
from tests.workshop import Workshop, settings_for

END = "the end of what is watched"


@contextmanager
def watched(workshop: Workshop) -> Iterator[list[tuple[str, str]]]:
    """Note (client, command) of all that reaches Redis from outside; a script by its name."""
    seen: list[tuple[str, str]] = []
    world = workshop.world
    names = {world.scripts[name].sha: name for name in SCRIPTS}
    begun = threading.Event()

    def watch() -> None:
        with world.client.monitor() as monitor:
            begun.set()
            for command in monitor.listen():
                words = command["command"].split(" ")
                if command["command"].endswith(END):
                    return
                if command["client_type"] != "lua":
                    is_script = words[0].upper() == "EVALSHA"
                    said = f"script {names.get(words[1], '?')}" if is_script else words[0].upper()
                    seen.append((f"{command['client_address']}:{command['client_port']}", said))

    thread = threading.Thread(target=watch)
    thread.start()
    begun.wait(5)
    try:
        yield seen
    finally:
        world.client.echo(END)
        thread.join(10)


JOB = ("claim", "calling", "checkpoint", "succeed")
HOUSEKEEPING = ("accept", "read", "renew", "sweep", "tend", "expire", "trash", "learn")
SCRIPTS = (*JOB, *HOUSEKEEPING)


def connections(one: Worker) -> set[tuple[int, int]]:
    found = psutil.Process(one.pid).net_connections("tcp")
    return {(link.laddr.port, link.raddr.port) for link in found if link.raddr}


def test_a_job_costs_four_scripts_one_put_one_post_and_one_get(
    empty_redis_url: str, s3: S3Server, tmp_path: Path
) -> None:
    s3_lines: list[str] = []
    with (
        running() as url,
        steered(url) as provider,
        counting(urlsplit(url).port or 0, []) as provider_port,
        counting(s3.port, s3_lines) as s3_port,
    ):
        # given a worker that has done a few jobs
        workshop = Workshop(empty_redis_url, s3, provider)
        told = settings_for(
            s3,
            f"http://127.0.0.1:{provider_port}",
            s3_endpoint=f"127.0.0.1:{s3_port}",
            redis_url=empty_redis_url,
            provider_rate_per_minute=0,
            # nothing of the housekeeping falls into what is counted
            lease_seconds=60,
        )
        with worker(tmp_path, told, threads=1) as one:
            for _ in range(3):
                done(workshop, workshop.accept())
            before = connections(one)
            provider.http.delete("/_sandbox/calls").raise_for_status()
            del s3_lines[:]
            # when
            with watched(workshop) as seen:
                done(workshop, workshop.accept())
            after = connections(one)
        # then
        scripts = Counter(said for _, said in seen if said.startswith("script"))
        housekeeping = {f"script {name}" for name in HOUSEKEEPING}
        assert {name: n for name, n in scripts.items() if name not in housekeeping} == {
            "script claim": 1,
            "script calling": 1,
            "script checkpoint": 1,
            "script succeed": 1,
        }
        celery = Counter(said for _, said in seen if not said.startswith("script"))
        # it blocks for the next permit again, and does nothing else; CLIENT is who watches
        assert set(celery) <= {"BRPOP", "PING", "CLIENT"}
        assert celery["BRPOP"] <= 2
        assert [line.split(" ")[0] for line in s3_lines] == ["PUT"]
        assert provider.outcomes() == [("generate", "ok", True), ("download", "ok", False)]
        # the housekeeping may have met itself on the way to Redis
        redis_port = urlsplit(empty_redis_url).port
        assert {link for link in after - before if link[1] != redis_port} == set()
        workshop.close()


def done(workshop: Workshop, job_id: str) -> None:
    assert workshop.wait_for_end(job_id).image is not None
