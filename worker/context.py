"""What the threads of a worker process share: settings, connections and leases."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from shared import metrics
from shared.celery_app import QueueName
from shared.errors import StoreError
from shared.logs import log
from shared.provider_keys import ProviderKey
from shared.serializers import View
from shared.settings import Settings
from shared.storage.client import ObjectStore
from shared.store.client import Store
from shared.store.command import Command
from shared.tracing.spans import OFF, Tracer
from worker.image_download import Downloader
from worker.key_pool import KeyPool
from worker.leases import Leases
from worker.provider.client import Provider
from worker.webhook_client import WebhookClient

if TYPE_CHECKING:
    from shared.history.database import Database

T = TypeVar("T")
_LOG = log(__name__)

#: The longest interval between attempts to reach Redis, in seconds.
PATIENCE_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerContext:
    """A worker process."""

    settings: Settings
    store: Store
    storage: ObjectStore
    provider: Provider
    downloader: Downloader
    sender: WebhookClient
    view: View
    key_pool: KeyPool
    worker: str
    #: by queue, for those that this process serves
    leases: Mapping[str, Leases]
    tracer: Tracer = OFF
    #: of the history; None if there is none
    history: "Database | None" = None
    #: held while this process runs a job that lost a worker before
    isolation_lock: threading.Lock = field(default_factory=threading.Lock)
    #: by queue: held by the one thread of this process that waits for the gate
    gate_turns: Mapping[str, threading.Lock] = field(
        default_factory=lambda: {queue: threading.Lock() for queue in QueueName}
    )
    #: when this process started, on the monotonic clock
    began: float = field(default_factory=time.monotonic)
    #: set when the process is asked to stop: nothing new starts
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def keys(self) -> Sequence[ProviderKey]:
        """The provider keys that the threads may use at present."""
        return self.key_pool.keys

    @property
    def is_past_first_lease(self) -> bool:
        """Whether this process has lived for a lease.

        A new process may be about to crash like those before it; jobs lost with them wait for one
        that has proved stable.
        """
        return time.monotonic() - self.began >= self.settings.lease_seconds

    def run_until_acknowledged(self, call: Command[T]) -> T:
        """Run a command until Redis replies: paid images must not be forgotten.

        Raise what the command raises (LostLease).
        """
        wait = 0.05
        while True:
            try:
                return self.store.run(call)
            except StoreError as error:
                metrics.REDIS_ERRORS.inc()
                _LOG.warning(
                    "redis did not answer, trying again", script=call.script, error=str(error)
                )
                # not on `stopping`: a stop must not turn this into a busy loop
                threading.Event().wait(wait)
                wait = min(wait * 2, PATIENCE_SECONDS)
