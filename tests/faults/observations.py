"""What everyone else than Darkroom wrote down, read once: provider, storage, receiver, logs."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from minio import Minio

from shared.jobs import Job, Status
from shared.store import job_queries, keys, stats
from shared.store.usage import read_usage
from tests.support.store import World
from tests.support.tls import TLS
from tests.support.webhook_receiver import Received


@dataclass(frozen=True)
class Facts:
    """What everyone else wrote down, read once."""

    jobs: Mapping[str, Job]
    #: the provider's generate calls by prompt
    asked: Mapping[str, list[Mapping[str, Any]]]
    #: sha256 by key of all that is stored, and what is to be deleted
    objects: Mapping[str, str]
    trash: frozenset[str]
    received: Sequence[Received] | None
    slots: Mapping[str, float]
    logs: Sequence[Path]
    secrets: Sequence[str]
    metrics: Mapping[str, float]
    #: jobs in the whole service by status, where `jobs` has only some of them
    everything: Mapping[str, int] = field(default_factory=dict)
    #: jobs that ever succeeded, deleted ones too
    ever_succeeded: int = 0


def read_facts(
    state: Mapping[str, Any],
    data: Path,
    *,
    jobs: Iterable[str] | None = None,
    received: Sequence[Received] | None = None,
) -> Facts:
    """Read everything of the stack in `data`, of which `state` tells; all jobs, or only some."""
    tenant = str(state["tenant"])
    with closing(World(state["redis_url"])) as world:
        ids = (
            list(jobs) if jobs is not None else world.client.zrange(keys.tenant_jobs(tenant), 0, -1)
        )
        found = {str(one): world.read(str(one), "").job for one in ids}
        return Facts(
            jobs=found,
            asked=_asked(str(state["provider_url"])),
            objects=_objects(state["s3"], found),
            trash=frozenset(world.object_deletions()),
            received=received,
            slots=_slots(world, tenant),
            logs=sorted((data / "logs").glob("*.log")),
            secrets=[
                *(state[name] for name in ("api_key", "ops_key", "webhook_secret")),
                state["s3"]["secret_key"],
            ],
            metrics=_metrics(state["metrics"]),
            everything={
                str(k): int(v)
                for k, v in world.store.run(job_queries.service_stats()).jobs.items()
                if k in set(Status)
            },
            ever_succeeded=world.store.run(stats.read_totals()).totals["succeeded"],
        )


def _asked(url: str) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for call in httpx.get(f"{url}/_sandbox/calls", timeout=30, verify=TLS).json()["calls"]:
        if call["kind"] == "generate":
            found.setdefault(str(call["prompt"]), []).append(call)
    return found


def _objects(s3: Mapping[str, Any], jobs: Mapping[str, Job]) -> dict[str, str]:
    access = {"access_key": s3["access_key"], "secret_key": s3["secret_key"]}
    client = Minio(s3["endpoint"], secure=False, region="us-east-1", **access)
    keys = [str(one.object_name) for one in client.list_objects(s3["bucket"], recursive=True)]
    return {key: _sha256(client, s3["bucket"], key) for key in keys if is_of(key, jobs)}


def _sha256(client: Minio, bucket: str, key: str) -> str:
    response = client.get_object(bucket, key)
    try:
        return hashlib.sha256(response.data).hexdigest()
    finally:
        response.close()
        response.release_conn()


def _slots(world: World, tenant: str) -> dict[str, float]:
    facts = world.store.run(job_queries.service_stats())
    running = world.client.hget(keys.queue_group("jobs", tenant), "running")
    return {
        "leases": sum(facts.in_flight.values()),
        "running": int(running or 0),
        "waiting": sum(facts.depth.values()),
        "queued": facts.jobs.get("queued", 0),
        "webhooks": facts.webhook_pending,
        "promised": world.store.run(read_usage(tenant, days=1)).promised,
    }


def _metrics(urls: Iterable[str]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for name, value in _samples(urls):
        total[name] += value  # type: ignore[assignment]  # a Counter adds fractions as well
    return dict(total)


def _samples(urls: Iterable[str]) -> Iterator[tuple[str, float]]:
    for url in urls:
        for line in httpx.get(url, timeout=10, verify=TLS).text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                yield name, float(value)


def is_of(key: str, jobs: Iterable[str]) -> bool:
    return any(key.rpartition("/")[2].startswith(job) for job in jobs)
