"""Check Redis once a second: its clock, its health, and the state of the service."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import redis.asyncio
from prometheus_client import CollectorRegistry
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ResponseError

from api.background import end
from shared.errors import IncompatibleStore, StoreDown, StoreError, StoreFull
from shared.logs import log
from shared.metrics import RedisGauges, ServiceCollector
from shared.signing import ImageUrlSigner
from shared.store import keys
from shared.store.connection import translate
from shared.store.group_commit import BROKEN, GroupCommitClient
from shared.store.health import health_problems, is_durable, is_full
from shared.store.image_urls import REFRESH_SECONDS, new_signing_key, read_signing_keys
from shared.store.job_queries import ServiceStats, service_stats
from shared.store.prices import write_prices
from shared.store.schema_version import SCHEMA, incompatibility

POLL_INTERVAL_SECONDS = 1.0
#: After so long, every process signs with a new secret.
_ROTATION_MS = int((REFRESH_SECONDS + 2 * POLL_INTERVAL_SECONDS) * 1000)
_SECTIONS = ("memory", "persistence", "replication", "cluster")


_log = log(__name__)


@dataclass(frozen=True, slots=True)
class RedisState:
    """The state of Redis: bytes used and allowed (0: no limit), and whether writes are durable."""

    used: int = 0
    limit: int = 0
    durable: bool = False


class RedisMonitor:
    """What this process knows of its Redis, at most one second old."""

    def __init__(
        self,
        pool: ConnectionPool,
        committer: GroupCommitClient,
        signer: ImageUrlSigner,
        prices: Mapping[str, float | None],
    ) -> None:
        """Take a pool with a spare connection, what it keeps up to date, and prices by model."""
        self._client = redis.asyncio.Redis(connection_pool=pool)
        self._committer = committer
        self._task: asyncio.Task[None] | None = None
        self._anchor: tuple[float, float] | None = None
        self._signer = signer
        self._keys_read_at = 0.0
        self._prices = prices
        self._prices_recorded_in = ""
        self._full = False
        self._unfit = ""
        self.reasons = ["Redis has not been reached yet."]
        self.redis = RedisState()
        #: the state of the service at the last check, None before
        self.service: ServiceStats | None = None
        self._collector = ServiceCollector(prices)
        #: the gauges of the whole service, apart from the counters of this process
        self.registry = CollectorRegistry()
        self.registry.register(self._collector)
        self._gauges = RedisGauges(self.registry)

    async def __aenter__(self) -> Self:
        """Check once, whatever the result, and keep checking."""
        await self._try()
        self._task = asyncio.create_task(self._go_on(), name="watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop checking."""
        await end(self._task)

    def now_ms(self) -> float:
        """Estimate Redis' clock, in milliseconds since 1970; ahead only by drift.

        Raise StoreDown if it was never read.
        """
        if self._anchor is None:
            raise StoreDown("Redis is not reachable.")
        server_ms, at = self._anchor
        return server_ms + (time.monotonic() - at) * 1000

    @property
    def signer(self) -> ImageUrlSigner:
        """The signer of image URLs; raise StoreDown if its secrets were never read."""
        if not self._signer.keys:
            raise StoreDown("Redis is not reachable.")
        return self._signer

    def ensure_capacity(self) -> None:
        """Raise StoreFull, IncompatibleStore or StoreDown if no more jobs may be accepted."""
        if not self._signer.keys:  # a response with the accepted job could not be written
            raise StoreDown("Redis is not reachable.")
        if self._unfit:
            raise IncompatibleStore(self._unfit)
        if self._full:
            raise StoreFull("The job store is near its memory limit.")

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            await self._try()

    async def _try(self) -> None:
        """Check, and record the result; log once when Redis becomes unavailable."""
        before = self.reasons
        try:
            await self._poll()
        except (*BROKEN, StoreError) as error:
            known = isinstance(error, StoreError)
            self.reasons = [str(error if known else translate(error, sent=False))]
            self._log_change(before, error)
        except Exception:  # noqa: BLE001  nothing would restart the task
            _log.exception(
                "redis check failed because of a defect in Darkroom; please report the trace"
            )
        else:
            self._log_change(before, None)
        self._gauges.ready.set(not self.reasons)

    def _log_change(self, before: list[str], error: Exception | None) -> None:
        if self.reasons != before:
            cause = type(error).__name__ if error else None
            _log.info("redis health changed", reasons=self.reasons, cause=cause)

    async def _poll(self) -> None:
        seconds, microseconds = await self._client.time()
        self._anchor = (seconds * 1000 + microseconds / 1000, time.monotonic())
        facts = await self._client.info(*_SECTIONS)
        facts["appendfsync"] = await self._appendfsync()
        facts["schema"] = await self._read_or_create(keys.schema(), str(SCHEMA))
        self._unfit = incompatibility(facts["schema"])
        self._full = is_full(facts)
        used, limit = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
        self.redis = RedisState(used, limit, is_durable(facts))
        self._gauges.durable.set(self.redis.durable)
        self._gauges.memory.set(used)
        self._gauges.limit.set(limit)
        if time.monotonic() >= self._keys_read_at + REFRESH_SECONDS or not self._signer.keys:
            await self._read_signing_keys()
        self.reasons = health_problems(facts)
        self.service = await self._committer.run(service_stats())
        self._collector.facts = self.service
        if not self._unfit and not self._full:
            await self._record_prices(str(facts.get("master_replid")))

    async def _record_prices(self, replication_id: str) -> None:
        # once, because a process that started later may have other prices; but Redis may lose its
        # data, and a replica that takes over (it changes the id) may not have received the write
        is_recorded = replication_id == self._prices_recorded_in
        if not is_recorded or not await self._client.exists(keys.prices()):
            await self._client.set(keys.prices(), write_prices(self._prices))
            self._prices_recorded_in = replication_id

    async def _appendfsync(self) -> str:
        """Read a setting that INFO does not report; '' if CONFIG is disabled."""
        try:
            server_ms = await self._client.config_get("appendfsync")
        except ResponseError:
            return ""
        return str(server_ms.get("appendfsync", ""))

    async def _read_signing_keys(self) -> None:
        # a Redis that lost its data gets this process's secret, so that image URLs keep working
        own = self._signer.keys[0].hex() if self._signer.keys else new_signing_key()
        stored = await self._read_or_create(keys.signing_key(), own)
        found = await self._committer.run(read_signing_keys())
        # none if Redis lost its data just now: the next reading stores the secret again
        self._signer.keys = found or self._signer.keys or (bytes.fromhex(stored),)
        replaced_at = await self._client.get(keys.signing_key_replaced())
        if replaced_at is not None:
            self._signer.replaced_at = int(replaced_at) + _ROTATION_MS
        self._keys_read_at = time.monotonic()

    async def _read_or_create(self, key: str, first: str) -> str:
        """Read a stored value; the first process to ask stores `first`."""
        value: object = await self._client.get(key)
        if value is None:  # a full Redis refuses SET even if there is nothing to set
            value = await self._client.set(key, first, nx=True, get=True)
        return first if value is None else str(value)
