"""Looks at Redis once a second: its clock, whether it is fit, and what the service looks like."""

import asyncio
import time
from dataclasses import dataclass
from typing import Self

import redis.asyncio
from prometheus_client import CollectorRegistry
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ResponseError

from api.ending import end
from api.fitness import fitness, is_durable, is_full
from shared.errors import StoreDown, StoreError, StoreFull, StoreUnfit
from shared.logs import log
from shared.metrics import RedisGauges, ServiceCollector
from shared.store.committer import BROKEN, Committer
from shared.store.reading import ServiceFacts
from shared.store.reading import facts as service_facts
from shared.store.schema import SCHEMA, SCHEMA_KEY, why_unfit
from shared.store.tenants import SIGNING_KEY, new_signing_key

LOOK_SECONDS = 1.0
_SECTIONS = ("memory", "persistence", "replication", "cluster")


_log = log(__name__)


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis told: bytes used and allowed (0: no limit), and whether it keeps everything."""

    used: int = 0
    limit: int = 0
    durable: bool = False


class Watch:
    """What this process knows of its Redis, a second old at most."""

    def __init__(self, pool: ConnectionPool, committer: Committer) -> None:
        """Take a pool with a connection to spare, and the committer for the counters."""
        self._client = redis.asyncio.Redis(connection_pool=pool)
        self._committer = committer
        self._task: asyncio.Task[None] | None = None
        self._anchor: tuple[float, float] | None = None
        self._signing_key: bytes | None = None
        self._full = False
        self._unfit = ""
        self.reasons = ["Redis was not reached yet."]
        self.redis = RedisFacts()
        #: what the service looked like when it was last looked at, None before
        self.service: ServiceFacts | None = None
        self._collector = ServiceCollector()
        #: the gauges of the whole service, apart from what this process counts itself
        self.registry = CollectorRegistry()
        self.registry.register(self._collector)
        self._gauges = RedisGauges(self.registry)

    async def __aenter__(self) -> Self:
        """Look once, whatever comes of it, and go on looking."""
        await self._try()
        self._task = asyncio.create_task(self._go_on(), name="watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop looking."""
        await end(self._task)

    def now_ms(self) -> float:
        """Estimate Redis' clock, in milliseconds since 1970; never ahead but by drift.

        Raises StoreDown where it was never read.
        """
        if self._anchor is None:
            raise StoreDown("Redis is not reachable.")
        told, at = self._anchor
        return told + (time.monotonic() - at) * 1000

    def signing_key(self) -> bytes:
        """Give the secret that signs image addresses; raises StoreDown where it was never read."""
        if self._signing_key is None:
            raise StoreDown("Redis is not reachable.")
        return self._signing_key

    def check_room(self) -> None:
        """Raise StoreFull or StoreUnfit where nothing more is to be accepted."""
        if self._unfit:
            raise StoreUnfit(self._unfit)
        if self._full:
            raise StoreFull("The job store is near its memory limit.")

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._try()

    async def _try(self) -> None:
        """Look, and note what was seen; a Redis that is away is told once."""
        before = self.reasons
        try:
            await self._look()
        except (*BROKEN, StoreError) as error:
            self.reasons = ["Redis is not reachable."]
            self._tell(before, error)
        else:
            self._tell(before, None)
        self._gauges.ready.set(not self.reasons)

    def _tell(self, before: list[str], error: Exception | None) -> None:
        if self.reasons != before:
            cause = type(error).__name__ if error else None
            _log.info("fitness of Redis changed", reasons=self.reasons, cause=cause)

    async def _look(self) -> None:
        seconds, microseconds = await self._client.time()
        self._anchor = (seconds * 1000 + microseconds / 1000, time.monotonic())
        facts = await self._client.info(*_SECTIONS)
        facts["appendfsync"] = await self._appendfsync()
        facts["schema"] = await self._kept(SCHEMA_KEY, str(SCHEMA))
        self._unfit = why_unfit(facts["schema"])
        self._full = is_full(facts)
        used, limit = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
        self.redis = RedisFacts(used, limit, is_durable(facts))
        self._gauges.durable.set(self.redis.durable)
        self._gauges.memory.set(used)
        self._gauges.limit.set(limit)
        self.reasons = fitness(facts)
        if self._signing_key is None:
            self._signing_key = await self._read_signing_key()
        self.service = await self._committer.run(service_facts())
        self._collector.facts = self.service

    async def _appendfsync(self) -> str:
        """Read what INFO does not tell; '' where CONFIG is hidden."""
        try:
            told = await self._client.config_get("appendfsync")
        except ResponseError:
            return ""
        return str(told.get("appendfsync", ""))

    async def _read_signing_key(self) -> bytes:
        return bytes.fromhex(await self._kept(SIGNING_KEY, new_signing_key()))

    async def _kept(self, key: str, first: str) -> str:
        """Read what is kept; the first process that asks keeps `first`."""
        kept: object = await self._client.get(key)
        if kept is None:  # a full Redis refuses SET also where there is nothing to set
            kept = await self._client.set(key, first, nx=True, get=True)
        return first if kept is None else str(kept)
