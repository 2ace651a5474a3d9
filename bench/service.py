"""Darkroom as `darkroom up` starts it, from the stack's own plan, while a block runs."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from bench import allocator
from bench.usage import cpu_seconds, memory_bytes
from sandbox.devstack import directory, ports
from sandbox.devstack.keys import s3_keys
from sandbox.devstack.plan import Kind, Plan, ProcessSpec, StackOptions, servers, services
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_for_redis, wait_until
from shared.settings import PREFIX, inherited_environment, load_settings
from shared.store import keys
from shared.store.provisioning import provision_tenant
from tests.support.store import World

TENANT = "bench"
_APP = "api.main:create_app"


@dataclass(frozen=True)
class Service:
    """A running service: where it is, and the resources of its processes."""

    plan: Plan
    children: dict[str, Child]
    kinds: dict[str, Kind]
    api_key: str
    world: World

    @property
    def url(self) -> str:
        """Return the API's URL."""
        return self.plan.api_url

    @property
    def authorization(self) -> dict[str, str]:
        """Return the header that every request needs."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def pids(self, *kinds: Kind) -> list[int]:
        """Return the process ids of some kinds."""
        return [child.pid for name, child in self.children.items() if self.kinds[name] in kinds]

    def cpu(self, *kinds: Kind) -> float:
        """Return the CPU seconds that the processes of some kinds have used."""
        return cpu_seconds(self.pids(*kinds))

    def memory(self, *kinds: Kind) -> int:
        """Return the bytes of memory that the processes of some kinds hold."""
        return memory_bytes(self.pids(*kinds))

    def count(self, status: str) -> int:
        """Count the jobs of a status."""
        return int(self.world.client.hget(keys.counts(), status) or 0)

    def claimable(self) -> int:
        """Count the jobs that a worker could claim now."""
        return int(self.world.client.hget(keys.queue_state("jobs"), "claimable") or 0)

    def stored(self) -> int:
        """Count the objects in the bucket."""
        return sum(len(files) for _, _, files in os.walk(self.plan.bucket_folder))

    def wait_for(self, status: str, count: int, *, seconds: float = 120) -> None:
        """Wait until `count` jobs have a status."""
        wait_until(lambda: self.count(status) >= count, f"{count} jobs {status}", seconds=seconds)


class Provider:
    """The sandbox provider's controls."""

    def __init__(self, url: str) -> None:
        """Control the provider at `url`."""
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=60)

    def behave(self, latency_seconds: float, *, image_bytes: int = 0) -> None:
        """Set the latency of each call, and the size of each image if given."""
        padded = {"fault": "huge", "bytes": image_bytes, "declare": True}
        body = {"latency_seconds": latency_seconds, "default": padded if image_bytes else "ok"}
        self._http.put("/_sandbox/behavior", json=body).raise_for_status()

    def calls(self, kind: str) -> list[dict[str, Any]]:
        """Return the calls of a kind, in order."""
        found = self._http.get("/_sandbox/calls").raise_for_status().json()["calls"]
        return [call for call in found if call["kind"] == kind]

    def delete_records(self) -> None:
        """Delete the log of calls."""
        self._http.delete("/_sandbox/calls").raise_for_status()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def provider_of(service: Service) -> Provider:
    """Return the controls of the provider that this service calls."""
    return Provider(service.plan.provider_url)


@contextmanager
def service(
    place: Path,
    *names: str,
    workers: int = 1,
    concurrency: int | None = None,
    app: str = _APP,
    **settings: object,
) -> Iterator[Service]:
    """Run these programs (api, generate-1, deliver, provider) on servers of their own.

    `app` is the factory of the API's app.
    """
    plan = _plan(place, workers, concurrency, settings)
    parts = [*servers(plan), *(part for part in services(plan) if part.name in names)]
    parts = [
        replace(one, command=tuple(app if word == _APP else word for word in one.command))
        for one in parts
    ]
    children = {part.name: _child(part, place) for part in parts}
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(children[part.name])
            _wait_for(part)
        world = World(plan.redis_url)
        stack.callback(world.close)
        key = provision_tenant(world.store, TENANT, by="bench").api_key
        kinds = {part.name: part.kind for part in parts}
        yield Service(plan, children, kinds, key, world)


def _plan(place: Path, workers: int, concurrency: int | None, settings: dict[str, object]) -> Plan:
    own = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}
    kept = {
        name: value
        for name, value in inherited_environment().items()
        if not name.startswith(PREFIX)
    }
    place = directory.prepare(place)
    plan = Plan(
        options=StackOptions(place, provider="sandbox", workers=workers, concurrency=concurrency),
        ports=ports.choose({}, requested=None, workers=workers),
        keys=s3_keys(place),
        settings=load_settings(**settings),
        inherited={**kept, **own},
        console=False,
    )
    plan.bucket_folder.mkdir(parents=True, exist_ok=True)
    return plan


def _child(part: ProcessSpec, place: Path) -> Child:
    preloaded = allocator.preloaded() if part.kind is Kind.REDIS else {}
    return Child(
        part.command,
        place / "logs" / f"{part.name}.log",
        environment={**part.environment, **preloaded},
        grace_seconds=part.grace_seconds,
    )


def _wait_for(part: ProcessSpec) -> None:
    if part.ready.url.startswith("redis://"):
        wait_for_redis(int(part.ready.url.rpartition(":")[2].partition("/")[0]))
    else:
        wait_for_http(part.ready.url, status=part.ready.status)
