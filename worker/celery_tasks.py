"""The two Celery tasks, and the signals that start and stop a worker process.

Celery consumes messages, runs threads and handles graceful stops; Redis decides which job runs.
"""

import signal
import sys
from typing import Any

from celery import Celery, bootsteps
from celery.concurrency.thread import TaskPool
from celery.signals import celeryd_after_setup, setup_logging, worker_shutdown, worker_shutting_down
from celery.worker.request import Request

from shared import logs
from shared.celery_app import QueueName, build_celery, build_scripts
from shared.errors import DarkroomError, InvalidSettings, StoreDown
from shared.settings import S3_KEYS, Settings, load_settings
from worker.celery_pool import NotifyHubOnIdle
from worker.generate import do_next_jobs
from worker.lifecycle import OpenContext, WorkerLifecycle, build_context
from worker.webhook_delivery import do_next_deliveries

_LOG = logs.log(__name__)

#: How many jobs or deliveries a thread runs before Celery gives it the next message, if there are
#: more: Celery's overhead per message costs as much as the rest of a job. The thread still returns
#: to Celery now and then, so that a process with both queues serves both.
MAX_PER_PERMIT = 16


class Permit(Request):
    """A message that is gone once it is received, without acknowledgement."""

    def acknowledge(self) -> None:
        """Do nothing, which saves a round trip per job."""
        self.acknowledged = True


def build(settings: Settings, open_context: OpenContext = build_context) -> Celery:
    """Build the app with its two tasks and the signals that start and stop the process."""
    app = build_celery(settings)
    lifecycle = WorkerLifecycle(settings, build_scripts(settings, app), open_context)

    @app.task(name=QueueName.GENERATE.value, Request=Permit)
    def generate() -> None:
        do_next_jobs(lifecycle.context, MAX_PER_PERMIT)

    @app.task(name=QueueName.DELIVER.value, Request=Permit)
    def deliver() -> None:
        do_next_deliveries(lifecycle.context, MAX_PER_PERMIT)

    @setup_logging.connect(weak=False)
    def configure(**_: object) -> None:
        logs.configure(settings)

    @celeryd_after_setup.connect(weak=False)
    def begin(instance: Any, **_: object) -> None:  # noqa: ANN401  Celery's worker has no type
        _begin(lifecycle, instance)

    @worker_shutting_down.connect(weak=False)
    def stop(**_: object) -> None:
        lifecycle.stop()

    @worker_shutdown.connect(weak=False)
    def end(**_: object) -> None:
        lifecycle.end()

    app.steps["worker"].update({NotifyHubOnIdle, _stopping(lifecycle)})
    return app


def _begin(lifecycle: WorkerLifecycle, worker: Any) -> None:  # noqa: ANN401  Celery's worker has no type
    """Start the worker; of all exceptions, Celery passes on only SystemExit here."""
    try:
        _ensure_threads(worker.pool_cls)
        lifecycle.begin(sorted(worker.app.amqp.queues.consume_from), worker.concurrency)
    except DarkroomError as error:
        raise _refusal(error) from None
    except Exception as error:
        _LOG.exception(
            "worker not started because of a defect in Darkroom; please report the trace"
        )
        raise SystemExit(1) from error


def _ensure_threads(pool: type) -> None:
    if not issubclass(pool, TaskPool):
        raise InvalidSettings("Darkroom's worker runs on threads: start it with -P threads.")


def _stopping(lifecycle: WorkerLifecycle) -> type[bootsteps.StartStopStep]:
    """Create the step that stops our threads first, however Celery stops.

    Celery also stops without a signal: when its Redis became a replica, or sent what it cannot
    read. Then it waits for its threads, and those that wait for the gate must be woken.
    """

    class Stopping(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Pool",)

        def start(self, parent: object) -> None:  # noqa: ARG002  as Celery has it
            # Celery's "cold" stop tries to kill tasks, and fails, because threads cannot be killed
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.getsignal(signal.SIGTERM))

        def close(self, parent: object) -> None:  # noqa: ARG002  the same
            lifecycle.stop()

    return Stopping


def _refusal(error: DarkroomError) -> SystemExit:
    """Return why the worker cannot start; exit with 2 for settings, 4 without Redis, else 1."""
    sys.stderr.write(f"The worker cannot start.\n{error}\n")
    codes = {InvalidSettings: 2, StoreDown: 4}
    return SystemExit(next((code for kind, code in codes.items() if isinstance(error, kind)), 1))


def worker_settings() -> Settings:
    """Load the required settings; exit with a sentence for the operator if any is missing."""
    try:
        return load_settings("onemin_api_key", *S3_KEYS)
    except InvalidSettings as error:
        raise _refusal(error) from None
