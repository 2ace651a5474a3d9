"""Peers that make images: their provider and storage, and how to start their workers."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peer_environments import ARQ, PEERS, Peer, peer
from bench.service import Service
from sandbox.subprocesses import Child
from sandbox.wait import wait_until

#: How each kind of worker is started, and what its log says when it has begun.
_CELERY = ("celery", "-A", "celery_tasks", "worker", "-l", "INFO")
WORKERS: Mapping[str, tuple[Path, tuple[str, ...], str]] = {
    "celery": (PEERS, _CELERY, "ready."),
    "taskiq": (PEERS, ("taskiq", "worker", "taskiq_tasks:broker"), "Listening started."),
    "arq": (ARQ, ("arq", "arq_tasks.WorkerSettings"), "redis_version"),
    "brpop": (PEERS, ("python", f"{Path(__file__).parent}/peers/brpop_worker.py"), ""),
}


@dataclass(frozen=True, slots=True)
class ImagePeer:
    """A peer that makes images: its Redis, its API and its worker."""

    peer: Peer
    url: str
    front: Child
    worker: Child


def settings_of(beside: Service) -> Mapping[str, str]:
    """Return the settings that name the provider and the storage of a service."""
    plan = beside.plan
    return {
        "provider_url": plan.provider_url,
        "s3_endpoint": plan.s3_endpoint,
        "s3_access_key": plan.keys.access_key,
        "s3_secret_key": plan.keys.secret_key,
        "s3_bucket": plan.settings.s3_bucket,
    }


@contextmanager
def image_peer(
    directory: Path, kind: str, beside: Service, *words: str, **told: object
) -> Iterator[ImagePeer]:
    """Run a peer's front and worker on the provider and the storage of `beside`.

    `words` go to the worker's command.
    """
    place, command, sign = WORKERS[kind]
    with ExitStack() as stack:
        running = stack.enter_context(peer(directory, **settings_of(beside), **told))
        url, front = stack.enter_context(running.front(f"{kind}_front", place))
        worker = stack.enter_context(running.program("worker", place, *command, *words))
        wait_until(lambda: sign in worker.said(50) or not worker.alive, f"the worker of {kind}")
        if not worker.alive:
            raise RuntimeError(f"The worker of {kind} ended:\n{worker.said()}")
        yield ImagePeer(running, url, front, worker)
