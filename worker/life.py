"""The life of one worker process: what is opened at the start, and how it ends in time.

A stop (SIGTERM) lets the threads finish what they hold, for the provider's timeout and ten seconds.
What is then still held is given back, and the process leaves by `os._exit`: Celery's threads pool
would wait for ever.
"""

import gc
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from prometheus_client import start_http_server

from shared import metrics
from shared.errors import BadSettings, StoreError
from shared.logs import log
from shared.queue import QueueName
from shared.settings import Settings
from shared.storage import Storage
from shared.store import reading, schema
from shared.store.client import Store
from shared.store.connect import connect
from shared.store.replicas import Replicas
from shared.store.scripts import Scripts
from shared.store.tenants import signing_key
from shared.tracing.spans import open_tracer
from shared.view import View
from worker import clean, revive
from worker.clean import Cleaner
from worker.download import Downloader
from worker.leases import Held, Leases
from worker.loop import Loop
from worker.provider import OneMin
from worker.revive import Reviver
from worker.room import Room
from worker.send import Sender
from worker.sweep import Sweeper

_LOG = log(__name__)
#: Added to the provider's timeout: for the download, the storage and the last writes.
GRACE_SECONDS = 10.0
#: What webhooks' receivers allow a clock to be off; storages allow 15 minutes.
CLOCK_SECONDS = 300.0
#: What giving back may take at the very end, whatever Redis does.
LAST_WORDS_SECONDS = 3.0
#: Connections beyond one a thread: leases, sweep, and the last words of a stop.
SPARE_CONNECTIONS = 8


def build_room(settings: Settings, scripts: Scripts, queues: Sequence[str]) -> Room:
    """Build what the threads share; raises BadSettings, and StoreError where Redis is not there."""
    client = connect(settings, connections=settings.concurrency + SPARE_CONNECTIONS)
    schema.insist(client)
    store = Store(client, scripts, Replicas.from_settings(settings))
    served = [queue for queue in queues if queue in set(QueueName)]
    if not served:
        raise BadSettings(f"None of {', '.join(queues)} is a queue: use -Q generate or -Q deliver.")
    stopping = threading.Event()
    worker = f"{'+'.join(served)}@{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    return Room(
        settings=settings,
        store=store,
        storage=Storage.from_settings(settings),
        provider=OneMin.from_settings(settings, stopping),
        downloader=Downloader.from_settings(settings),
        sender=Sender.from_settings(settings),
        view=View(settings.public_url, signing_key(client)),
        keys=settings.onemin_keys,
        worker=worker,
        leases={
            queue: Leases(
                store,
                worker=f"{worker}/{queue}",
                queue=queue,
                threads=settings.concurrency,
                lease_seconds=settings.lease_seconds,
            )
            for queue in served
        },
        tracer=open_tracer(settings, "worker"),
        stopping=stopping,
    )


#: Opens what the threads share, from the settings, the scripts and the queues served.
OpenRoom = Callable[[Settings, Scripts, Sequence[str]], Room]


class Life:
    """Opens the room when the process knows its queues, and closes it when the threads are done."""

    def __init__(
        self, settings: Settings, scripts: Scripts, open_room: OpenRoom = build_room
    ) -> None:
        """Keep what the room will be built of, and by whom."""
        self._settings = settings
        self._scripts = scripts
        self._open_room = open_room
        self._room: Room | None = None
        self._loops: tuple[Loop, ...] = ()

    @property
    def room(self) -> Room:
        """What the tasks work with."""
        if self._room is None:
            raise RuntimeError("The worker has not begun.")
        return self._room

    def begin(self, queues: Sequence[str], threads: int) -> None:
        """Open everything, and begin to renew leases and to sweep.

        Raises BadSettings and StoreError, with a sentence for the operator.
        """
        settings = self._settings.model_copy(update={"concurrency": threads})
        room = self._open_room(settings, self._scripts, queues)
        metrics.begin()
        _serve_metrics(settings)
        _compare_clocks(room)
        for leases in room.leases.values():
            leases.start()
        self._loops = _loops(room)
        for loop in self._loops:
            loop.start()
        self._room = room
        # what is loaded stays: each full collection would stop all threads for 60 to 90 ms
        gc.freeze()
        _LOG.info("worker ready", queues=list(queues), threads=threads, worker=room.worker)

    def stop(self) -> None:
        """Begin nothing new; leave by force when the grace is over. A second call does nothing."""
        room = self._room
        if room is None or room.stopping.is_set():
            return
        room.stopping.set()
        seconds = self._settings.provider_timeout_seconds + GRACE_SECONDS
        _after(seconds, lambda: _leave_by_force(room))
        _LOG.info("worker stops", held=len(_held(room)), grace_seconds=seconds)

    def end(self) -> None:
        """Close everything: no thread holds anything any more."""
        if self._room is None:
            return
        for loop in self._loops:
            loop.stop()
        for leases in self._room.leases.values():
            leases.stop()
        _say_goodbye(self._room)
        self._room.tracer.close()
        _LOG.info("worker ended")


def _loops(room: Room) -> tuple[Loop, ...]:
    sweeper = Sweeper(room.store, worker=room.worker, lease_seconds=room.settings.lease_seconds)
    return (
        Loop("sweep", sweeper.interval_seconds, sweeper.sweep),
        Loop("clean", clean.INTERVAL_SECONDS, Cleaner(room.store, room.storage).clean),
        Loop("revive", revive.INTERVAL_SECONDS, Reviver(room).revive),
    )


def _serve_metrics(settings: Settings) -> None:
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise BadSettings(
            f"DARKROOM_METRICS_PORT is not usable: {where} cannot be listened on "
            f"({error.strerror or error})."
        ) from error


def _compare_clocks(room: Room) -> None:
    """Tell of a clock that is off: nothing here goes by it, but what is signed by it is refused."""
    off = time.time() - room.store.run(reading.facts()).now_ms / 1000
    if abs(off) > CLOCK_SECONDS:
        _LOG.error(
            "this clock is not Redis' clock: the storage and webhooks' receivers refuse signatures "
            "of another time; set it right",
            seconds=round(off),
            worker=room.worker,
        )


def _after(seconds: float, act: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def _leave_by_force(room: Room) -> None:
    """Give back what is held, as far as Redis lets us in a few seconds, and end the process."""
    _after(LAST_WORDS_SECONDS, lambda: os._exit(0))
    try:
        give_back_all(room)
        _say_goodbye(room)
        _LOG.warning("worker left before all was done: the grace is over")
        room.tracer.close()
    finally:
        os._exit(0)


def give_back_all(room: Room) -> None:
    """Give back whatever the threads of this process still hold; none of it is waited for."""
    for held in _held(room):
        try:
            if held.give_back is not None:
                held.give_back()
        except Exception as error:  # noqa: BLE001  one that cannot be given back must not keep the rest
            # the sweep will find it when its lease is over
            _LOG.warning("not given back", member=held.member, error=type(error).__name__)


def _held(room: Room) -> list[Held]:
    return [held for leases in room.leases.values() for held in leases.all()]


def _say_goodbye(room: Room) -> None:
    try:
        for leases in room.leases.values():
            leases.leave()
    except StoreError as error:
        _LOG.info("redis was not told that the worker left", error=str(error))
