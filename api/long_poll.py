"""Wake requests that wait for a job, a test event or a feed: one reader of Redis' stream for all.

Subscribe first, then read the job, then wait: no change in between is missed. After a gap (a
reconnect, a pause without waiters, a slow reader) every waiter is woken and reads again.
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
#: A waiter without a notification reads again after this time. It is not shorter, because with
#: 2,000 waiters, reading every 5 s cost more than everything they waited for.
SAFETY_SECONDS = 20.0
_PAUSE_SECONDS = 0.2
#: Entries read at once; the stream keeps ten times as many.
_ENTRIES = 1000

_log = log(__name__)


def tenant_channel(tenant: str) -> str:
    """Return the channel of a tenant's feed; it cannot collide with ids."""
    return f"tenant {tenant}"


class Subscription:
    """The subscription of one waiter."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def notify(self) -> None:
        """Wake the waiter."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for a notification; return whether one came."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def wait_until(self, ends_at: float) -> bool:
        """Wait for the next reason to read again; return False after the deadline (monotonic)."""
        left = ends_at - time.monotonic()
        if left <= 0:
            return False
        if not await self.wait(min(left, SAFETY_SECONDS)):
            return time.monotonic() < ends_at
        return True


class NotificationHub:
    """Read the stream while anybody waits, and notify the waiters of what changed."""

    def __init__(self, pool: ConnectionPool, *, block_seconds: float) -> None:
        """Take a pool with a spare connection whose timeout exceeds `block_seconds`."""
        self._client = redis.asyncio.Redis(connection_pool=pool)
        self._block_ms = max(int(block_seconds * 1000), 1)
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._somebody = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    async def __aenter__(self) -> Self:
        """Start; reading begins with the first waiter."""
        self._task = asyncio.create_task(self._serve(), name="wake")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wake every waiter and stop."""
        self.close()
        await end(self._task)

    def close(self) -> None:
        """Wake every waiter for good, because the process stops."""
        self.closing = True
        self._notify_all()

    @contextmanager
    def subscribe(self, name: str) -> Iterator[Subscription]:
        """Subscribe, within the block, to a job or delivery by id, or to a tenant."""
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
        """The number of waiters."""
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
                if len(entries) == _ENTRIES:  # others may have been trimmed unread
                    self._notify_all()

    async def _newest(self) -> str:
        """Return the id of the newest entry; everything after it will be read."""
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
