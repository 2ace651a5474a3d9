"""Start and stop of a worker process.

On SIGTERM the threads finish what they hold, within the provider's timeout and ten seconds. What is
still held then is returned, and the process exits with `os._exit`, because Celery's thread pool
would wait forever.
"""

import gc
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import start_http_server

from shared import metrics
from shared.celery_app import QueueName
from shared.errors import InvalidSettings, StoreError
from shared.history import open_database
from shared.logs import log
from shared.sealing import Seal
from shared.serializers import View
from shared.settings import Settings
from shared.signing import ImageUrlSigner
from shared.storage.client import Storage
from shared.store import image_urls, schema_version
from shared.store.client import Store
from shared.store.connection import connect
from shared.store.durability import Replicas
from shared.store.functions import FunctionLibrary
from shared.store.provider_keys import REFRESH_SECONDS, read_stored_keys
from shared.tracing.spans import open_tracer
from worker import audit_log, eraser, key_probe, models_check, retention
from worker.audit_log import AuditLog
from worker.context import WorkerContext
from worker.eraser import Eraser
from worker.image_download import Downloader
from worker.key_pool import KeyPool
from worker.key_probe import KeyProbe
from worker.leases import Held, Leases
from worker.models_check import ModelsCheck
from worker.periodic import PeriodicThread, Skipped
from worker.provider.client import OneMin
from worker.retention import RetentionCleaner
from worker.sweep import Sweeper
from worker.webhook_client import WebhookClient

_LOG = log(__name__)
#: Added to the provider's timeout: for download, storage and the last writes.
GRACE_SECONDS = 10.0
#: How far webhook receivers allow a clock to be off; storages allow 15 minutes.
CLOCK_SECONDS = 300.0
#: The time for returning jobs at the very end, whatever Redis does.
FORCE_EXIT_SECONDS = 3.0
#: Connections besides one per thread: leases, sweep, and the last writes of a stop.
SPARE_CONNECTIONS = 8
#: Connections to the history: for the archiver and the eraser.
HISTORY_CONNECTIONS = 2


def build_context(
    settings: Settings, scripts: FunctionLibrary, queues: Sequence[str]
) -> WorkerContext:
    """Build what the threads share.

    Raise InvalidSettings, and StoreError where Redis cannot be reached.
    """
    client = connect(settings, connections=settings.concurrency + SPARE_CONNECTIONS)
    schema_version.ensure_compatible(client)
    store = Store(client, scripts, Replicas.from_settings(settings))
    served = [queue for queue in queues if queue in set(QueueName)]
    if not served:
        raise InvalidSettings(
            f"None of {', '.join(queues)} is a queue: use -Q generate or -Q deliver."
        )
    image_urls.create_signing_key(client)
    signing_keys = store.run(image_urls.read_signing_keys())
    signer = ImageUrlSigner(settings.image_url_seconds, signing_keys)
    stopping = threading.Event()
    worker = f"{'+'.join(served)}@{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    key_pool = KeyPool(settings.onemin_keys, Seal.of(settings.seal_key_texts))
    key_pool.update(store.run(read_stored_keys()))
    key_pool.log_unreadable()
    return WorkerContext(
        settings=settings,
        store=store,
        storage=Storage.from_settings(settings),
        provider=OneMin.from_settings(settings, stopping),
        downloader=Downloader.from_settings(settings),
        sender=WebhookClient.from_settings(settings),
        view=View(settings.public_url, signer, settings.image_base_url, settings.models),
        key_pool=key_pool,
        worker=worker,
        leases=_leases(settings, store, worker, served),
        tracer=open_tracer(settings, "worker"),
        history=open_database(settings, connections=HISTORY_CONNECTIONS),
        stopping=stopping,
    )


def _leases(
    settings: Settings, store: Store, worker: str, queues: Sequence[str]
) -> dict[str, Leases]:
    return {
        queue: Leases(
            store,
            worker=f"{worker}/{queue}",
            queue=queue,
            threads=settings.concurrency,
            lease_seconds=settings.lease_seconds,
        )
        for queue in queues
    }


#: Builds the shared context from the settings, the functions and the queues.
OpenContext = Callable[[Settings, FunctionLibrary, Sequence[str]], WorkerContext]


class WorkerLifecycle:
    """Start when the process knows its queues; stop when its threads are done."""

    def __init__(
        self,
        settings: Settings,
        scripts: FunctionLibrary,
        open_context: OpenContext = build_context,
    ) -> None:
        """Take what the context is built from."""
        self._settings = settings
        self._scripts = scripts
        self._open_context = open_context
        self._context: WorkerContext | None = None
        self._loops: tuple[PeriodicThread, ...] = ()

    @property
    def context(self) -> WorkerContext:
        """The context of the tasks."""
        if self._context is None:
            raise RuntimeError("The worker has not begun.")
        return self._context

    def begin(self, queues: Sequence[str], threads: int) -> None:
        """Build the context, and start renewing leases and sweeping.

        Raise InvalidSettings and StoreError, with a sentence for the operator.
        """
        settings = self._settings.model_copy(update={"concurrency": threads})
        context = self._open_context(settings, self._scripts, queues)
        metrics.begin(settings.models)
        _serve_metrics(settings)
        _compare_clocks(context)
        for leases in context.leases.values():
            leases.start()
        self._loops = _loops(context)
        for loop in self._loops:
            loop.start()
        self._context = context
        # loaded modules stay: a full collection would stop all threads for 60 to 90 ms
        gc.freeze()
        _LOG.info("worker ready", queues=list(queues), threads=threads, worker=context.worker)

    def stop(self) -> None:
        """Start nothing new; exit by force after the grace period. A second call does nothing."""
        context = self._context
        if context is None or context.stopping.is_set():
            return
        context.stopping.set()
        seconds = self._settings.provider_timeout_seconds + GRACE_SECONDS
        _after(seconds, lambda: _force_exit(context))
        _LOG.info("worker stopping", held=len(_held(context)), grace_seconds=seconds)

    def end(self) -> None:
        """Close everything; no thread holds anything any more."""
        if self._context is None:
            return
        for loop in self._loops:
            loop.stop()
        for leases in self._context.leases.values():
            leases.stop()
        _deregister(self._context)
        if self._context.history:
            self._context.history.close()
        self._context.tracer.close()
        _LOG.info("worker stopped")


def _loops(context: WorkerContext) -> tuple[PeriodicThread, ...]:
    sweeper = Sweeper(
        context.store, worker=context.worker, lease_seconds=context.settings.lease_seconds
    )
    probe = KeyProbe(context)
    return (
        *_archiving(context),
        _erasing(context),
        PeriodicThread("sweep", sweeper.interval_seconds, sweeper.sweep),
        PeriodicThread(
            "clean",
            retention.INTERVAL_SECONDS,
            RetentionCleaner(context.store, context.storage).clean,
        ),
        PeriodicThread(
            "image urls", image_urls.REFRESH_SECONDS, lambda: _read_signing_keys(context)
        ),
        *_checking_models(context),
        *_logging_audit(context),
        PeriodicThread("provider keys", REFRESH_SECONDS, probe.update),
        PeriodicThread("revive", key_probe.INTERVAL_SECONDS, probe.revive),
    )


def _archiving(context: WorkerContext) -> Iterator[PeriodicThread]:
    if context.history is None:
        return
    from shared.history.writer import HistoryWriter  # noqa: PLC0415  SQLAlchemy takes 0.3 s to load
    from worker.archiver import INTERVAL_SECONDS, Archiver  # noqa: PLC0415  the same

    archive = Archiver(context.store, HistoryWriter(context.history), context.worker).archive
    yield PeriodicThread("archive", INTERVAL_SECONDS, archive)


def _erasing(context: WorkerContext) -> PeriodicThread:
    reader = None
    if context.history:
        from shared.history.reader import HistoryReader  # noqa: PLC0415  as above

        reader = HistoryReader(context.history)
    turns = Eraser(context.store, reader, context.store.now_ms)

    def erase() -> bool:
        # an erasure that failed waits for its next turn, and says nothing until then
        if not turns.erase():
            raise Skipped
        return True

    return PeriodicThread("erase", eraser.INTERVAL_SECONDS, erase)


def _logging_audit(context: WorkerContext) -> Iterator[PeriodicThread]:
    if context.settings.audit_log:
        write = AuditLog(context.store).write
        yield PeriodicThread("log audit", audit_log.INTERVAL_SECONDS, write)


def _checking_models(context: WorkerContext) -> Iterator[PeriodicThread]:
    if context.settings.models_check_seconds:
        check = ModelsCheck(context).check
        yield PeriodicThread("check models", models_check.INTERVAL_SECONDS, check)


def _read_signing_keys(context: WorkerContext) -> None:
    signer = context.view.signer
    # an empty Redis gets the secret back from an API process
    signer.keys = context.store.run(image_urls.read_signing_keys()) or signer.keys


def _serve_metrics(settings: Settings) -> None:
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise InvalidSettings(
            f"DARKROOM_METRICS_PORT is not usable: the worker cannot listen on {where} "
            f"({error.strerror or error})."
        ) from error


def _compare_clocks(context: WorkerContext) -> None:
    """Log an error if this host's clock is wrong: receivers and storages refuse its signatures."""
    off = time.time() - context.store.now_ms() / 1000
    if abs(off) > CLOCK_SECONDS:
        _LOG.error(
            "this host's clock differs from Redis' clock: storage and webhook receivers refuse "
            "signatures with a wrong time; correct it",
            seconds=round(off),
            worker=context.worker,
        )


def _after(seconds: float, act: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def _force_exit(context: WorkerContext) -> None:
    """Release what is held, as far as Redis allows in a few seconds, and exit."""
    _after(FORCE_EXIT_SECONDS, lambda: os._exit(0))
    try:
        release_all(context)
        _deregister(context)
        _LOG.warning("worker stopped before its jobs finished: the grace period is over")
        context.tracer.close()
    finally:
        os._exit(0)


def release_all(context: WorkerContext) -> None:
    """Release the jobs and deliveries that threads still hold, without waiting for them."""
    for held in _held(context):
        try:
            if held.release is not None:
                held.release()
        except Exception as error:  # noqa: BLE001  one that fails must not stop the rest
            # the sweep requeues it when its lease expires
            _LOG.warning("job release failed", member=held.member, error=type(error).__name__)


def _held(context: WorkerContext) -> list[Held]:
    return [held for leases in context.leases.values() for held in leases.all()]


def _deregister(context: WorkerContext) -> None:
    try:
        for leases in context.leases.values():
            leases.leave()
    except StoreError as error:
        _LOG.info("worker deregistration failed", error=str(error))
