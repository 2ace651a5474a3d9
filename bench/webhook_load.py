"""Create webhooks: by jobs that end in Darkroom, and by `delay()` of a Celery task."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

import orjson
import redis

from bench.peer_environments import PEERS, PROGRAMS, Peer, peer
from bench.service import TENANT, Service, service
from sandbox.wait import wait_until
from shared.jobs import JobSpec
from shared.store import bulk, job_submission
from shared.store.audit import AuditContext
from tests.support.growth import run_many, usual_spec
from tests.support.store import FAR

#: The body of a webhook, for peers that send one of their own.
_BODY = orjson.dumps({"type": "job.canceled", "data": dict(usual_spec(0).input)}).decode()


@dataclass(frozen=True)
class WebhookLoad:
    """A way to create webhooks.

    In the block of `stopped` none is delivered, and `worker` runs the deliverer. `prepare` takes
    the URLs and returns a function that creates each webhook.
    """

    stopped: Callable[[], AbstractContextManager[object]]
    worker: Callable[[], AbstractContextManager[object]]
    prepare: Callable[[Sequence[str]], Sequence[Callable[[], object]]]
    must_deliver: bool = True


@contextmanager
def by_darkroom(place: Path, at_once: int, hosts: Sequence[str]) -> Iterator[WebhookLoad]:
    """Run a Darkroom that delivers to these hosts."""
    allowed = ",".join(hosts)
    with service(
        place, "api", "deliver", concurrency=at_once, webhook_allow_hosts=allowed
    ) as running:
        yield WebhookLoad(partial(_paused, running), nullcontext, partial(_prepare_jobs, running))


@contextmanager
def _paused(running: Service) -> Iterator[None]:
    store = running.world.store
    store.run(bulk.pause(AuditContext("bench", ""), "deliver"))
    yield
    store.run(bulk.resume(AuditContext("bench", ""), "deliver"))


def _prepare_jobs(running: Service, urls: Sequence[str]) -> list[Callable[[], object]]:
    """Queue a job for each URL; canceling it sends the webhook of its end."""
    world = running.world
    jobs = [
        world.new_job(TENANT, spec=_spec(number, url), webhook_host=url.split("/")[2].split(":")[0])
        for number, url in enumerate(urls)
    ]
    run_many(world, [job_submission.accept(job, not_after_ms=FAR) for job in jobs])
    return [partial(world.cancel, job.id, TENANT) for job in jobs]


def _spec(number: int, url: str) -> JobSpec:
    usual = usual_spec(number)
    return JobSpec(usual.model, usual.input, webhook={"url": url, "events": ["job.canceled"]})


@contextmanager
def by_celery(place: Path, at_once: int) -> Iterator[WebhookLoad]:
    """Run a Celery with its Redis."""
    with peer(place) as running:
        command = [str(PEERS / "bin" / "python"), str(PROGRAMS / "send_webhooks.py")]
        with Popen(command, stdin=PIPE, env=dict(running.environment), text=True) as owing:
            assert owing.stdin is not None  # noqa: S101  it was asked for

            def send_one(url: str) -> None:
                assert owing.stdin is not None  # noqa: S101  it was asked for
                owing.stdin.write(f"{url} {_BODY}\n")
                owing.stdin.flush()

            yield WebhookLoad(
                partial(_filling, running),
                partial(_celery_worker, running, at_once),
                lambda urls: [partial(send_one, url) for url in urls],
                must_deliver=False,
            )


@contextmanager
def _filling(running: Peer) -> Iterator[None]:
    """Let the queue fill: no worker runs yet."""
    with running.client() as client:
        yield
        wait_until(lambda: _is_still(client), "all tasks in the queue")


def _is_still(client: "redis.Redis") -> bool:
    before = client.llen("hooks")
    time.sleep(0.3)
    return before > 0 and client.llen("hooks") == before


@contextmanager
def _celery_worker(running: Peer, at_once: int) -> Iterator[None]:
    command = ("celery", "-A", "celery_webhooks", "worker", "-P", "threads", "-c", str(at_once))
    with running.program("worker", PEERS, *command, "-l", "INFO") as worker:
        before = worker.said(1000).count("ready.")
        wait_until(lambda: worker.said(1000).count("ready.") > before, "a worker")
        yield
        worker.kill()
