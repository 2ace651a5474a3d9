"""The leases of this process, and the thread that renews them.

After each third of the lease, one call renews all of them. The call runs on a thread of its own
until the last member is released: Celery's timer stops at SIGTERM while tasks continue.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared import metrics
from shared.errors import LostLease, StoreError
from shared.logs import log
from shared.store import maintenance
from shared.store.client import Store

_LOG = log(__name__)


class Held:
    """A member under a lease; `lost` is set when it is no longer ours."""

    def __init__(self, member: str, fence: str) -> None:
        """Take the member and the fence of its claim."""
        self.member = member
        self.fence = fence
        #: how to release it when the process must exit before the attempt is done
        self.release: Callable[[], None] | None = None
        self._lost = threading.Event()

    def lose(self) -> None:
        """Record that another worker holds it, or that it is final."""
        self._lost.set()

    def check(self) -> None:
        """Raise LostLease if it is no longer ours."""
        if self._lost.is_set():
            raise LostLease


class Leases:
    """The members that the threads of one queue hold in this process."""

    def __init__(
        self, store: Store, *, worker: str, queue: str, threads: int, lease_seconds: float
    ) -> None:
        """Take the holder (`worker`), the queue, and the number of threads."""
        self._store = store
        self._worker = worker
        self._queue = queue
        self._threads = threads
        self._lease_seconds = lease_seconds
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"leases-{queue}", daemon=True)

    def start(self) -> None:
        """Register this process and start renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing, once nothing is held any more."""
        self._stop.set()
        self._thread.join()

    def leave(self) -> None:
        """Record that this process has stopped: its threads no longer count."""
        self._store.run(maintenance.deregister_worker(self._worker))

    @contextmanager
    def hold(self, member: str, fence: str) -> Iterator[Held]:
        """Renew a member's lease while the block runs."""
        held = Held(member, fence)
        with self._lock:
            before = self._held.get(member)
            self._held[member] = held
        if before is not None:
            # a thread lost it without knowing, and another thread has claimed it again
            before.lose()
        try:
            yield held
        finally:
            with self._lock:
                if self._held.get(member) is held:
                    del self._held[member]

    def all(self) -> list[Held]:
        """Return everything that is held now."""
        with self._lock:
            return list(self._held.values())

    def renew(self) -> None:
        """Renew all leases, and mark those that are lost."""
        held = self.all()
        lost = self._store.run(
            maintenance.renew(
                self._worker,
                queue=self._queue,
                threads=self._threads,
                lease_seconds=self._lease_seconds,
                held=[(one.member, one.fence) for one in held],
            )
        )
        for one in held:
            if one.member in lost:
                one.lose()

    def _run(self) -> None:
        while True:
            wait = self._lease_seconds / (3 if self._try_to_renew() else 15)
            if self._stop.wait(wait):
                return

    def _try_to_renew(self) -> bool:
        try:
            self.renew()
        except StoreError as error:
            # the sweep does not requeue right after an outage of Redis: there is time to reconnect
            metrics.REDIS_ERRORS.inc()
            _LOG.warning("lease renewal failed", queue=self._queue, error=str(error))
        except Exception:  # noqa: BLE001  all leases end with this thread
            _LOG.exception("lease renewal failed: a defect of Darkroom; please report the trace")
        else:
            return True
        return False
