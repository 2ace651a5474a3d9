"""Wakes whoever waits for a job, a test event or a feed: one reader of Redis' stream for all.

First register, then read the job, then wait: nothing that happens in between is missed. After a gap
(a reconnect, a time in which nobody waited, a reader left behind) every waiter is woken and reads
again.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import redis.asyncio
from redis.asyncio.connection import ConnectionPool

from api.background import end
from shared.errors import StoreDown
from shared.logs import log
from shared.store import keys
from shared.store.group_commit import BROKEN

NOTIFICATIONS_KEY = keys.notifications()
#: A waiter that hears nothing looks by itself after this long. Not sooner: with 2,000 that wait,
#: looking each 5 s was more work than all that they waited for.
SAFETY_SECONDS = 20.0
_PAUSE_SECONDS = 0.2
#: Entries read at once; the stream keeps ten times as many.
_ENTRIES = 1000

_log = log(__name__)


def tenant_channel(tenant: str) -> str:
    """Name what rings when a tenant's feed has news; no id of anything else looks like it."""
    return f"tenant {tenant}"


class Subscription:
    """What one waiter listens to."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def notify(self) -> None:
        """Wake the waiter."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until it rings, `seconds` at most; tells whether it rang."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def wait_until(self, ends_at: float) -> bool:
        """Wait for the next reason to look; False when the time (monotonic, seconds) is over."""
        left = ends_at - time.monotonic()
        if left <= 0:
            return False
        if not await self.wait(min(left, SAFETY_SECONDS)):
            return time.monotonic() < ends_at
        return True


class NotificationHub:
    """Reads the stream while anybody waits, and rings the bells of what changed."""

    def __init__(self, pool: ConnectionPool, *, block_seconds: float) -> None:
        """Take a pool with a connection to spare whose timeout is above `block_seconds`."""
        self._client = redis.asyncio.Redis(connection_pool=pool)
        self._block_ms = max(int(block_seconds * 1000), 1)
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._somebody = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    async def __aenter__(self) -> Self:
        """Start to read when somebody waits."""
        self._task = asyncio.create_task(self._serve(), name="wake")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wake everybody and stop."""
        self.close()
        await end(self._task)

    def close(self) -> None:
        """Wake everybody for good: the process is leaving."""
        self.closing = True
        self._notify_all()

    @contextmanager
    def subscribe(self, name: str) -> Iterator[Subscription]:
        """Listen, while the block lasts, for a job or a delivery by its id, or for a tenant."""
        subscription = Subscription()
        if self.closing:
            subscription.notify()
        self._subscriptions.setdefault(name, set()).add(subscription)
        self._somebody.set()
        try:
            yield subscription
        finally:
            self._unsubscribe(name, subscription)

    @property
    def waiting(self) -> int:
        """How many listen now."""
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())

    def _unsubscribe(self, name: str, subscription: Subscription) -> None:
        subscriptions = self._subscriptions[name]
        subscriptions.discard(subscription)
        if not subscriptions:
            del self._subscriptions[name]
        if not self._subscriptions:
            self._somebody.clear()

    async def _serve(self) -> None:
        while True:
            await self._somebody.wait()
            try:
                await self._read_on()
            except (*BROKEN, StoreDown) as error:
                _log.info("notification reader restarted", cause=type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_on(self) -> None:
        """Read from now on, until nobody waits."""
        last = await self._newest()
        self._notify_all()
        while self._somebody.is_set():
            streams: Any = await self._client.xread(
                {NOTIFICATIONS_KEY: last}, _ENTRIES, self._block_ms
            )
            for _, entries in streams or ():
                last = entries[-1][0]
                self._notify(entries)
                if len(entries) == _ENTRIES:  # so far behind, others may have been cut off unread
                    self._notify_all()

    async def _newest(self) -> str:
        """Give the id of the newest entry; everything after it will be read."""
        entries: Any = await self._client.xrevrange(NOTIFICATIONS_KEY, count=1)
        return str(entries[0][0]) if entries else "0"

    def _notify(self, entries: list[tuple[str, dict[str, str]]]) -> None:
        for _, fields in entries:
            for name in (fields["job"], tenant_channel(fields.get("tenant", ""))):
                for subscription in self._subscriptions.get(name, ()):
                    subscription.notify()

    def _notify_all(self) -> None:
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.notify()
