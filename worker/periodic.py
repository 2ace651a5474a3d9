"""A thread that repeats an action as long as the process lives."""

import threading
from collections.abc import Callable

from shared import metrics
from shared.errors import HistoryDown, StorageDown, StoreError
from shared.logs import log

_LOG = log(__name__)


class Skipped(Exception):
    """The action was not tried this time, which is neither a success nor a failure."""


class PeriodicThread:
    """Call `act` every `interval_seconds`, and again at once if it returns True.

    No error ends the thread, because nothing would restart it.
    """

    def __init__(self, name: str, interval_seconds: float, act: Callable[[], object]) -> None:
        """Take the name for the log."""
        self._name = name
        self._interval = interval_seconds
        self._act = act
        #: the error of the last time; '' if there was none
        self._failure = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current action."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        more = False
        while not self._stop.wait(0 if more else self._interval):
            more = self._try()

    def _try(self) -> bool:
        try:
            more = self._act() is True
        except Skipped:
            return False
        except StoreError as error:
            metrics.REDIS_ERRORS.inc()
            self._log_failure("did not reach redis; retrying", error)
        except HistoryDown as error:
            self._log_failure(
                "did not reach the history; jobs stay in Redis until it is back", error
            )
        except StorageDown as error:
            self._log_failure("did not reach the storage; retrying", error)
        except Exception:  # noqa: BLE001  see above
            _LOG.exception(
                f"{self._name} failed because of a defect in Darkroom; please report the trace"
            )
        else:
            if self._failure:
                _LOG.info(f"{self._name} succeeded again")
            self._failure = ""
            return more
        return False

    def _log_failure(self, what: str, error: Exception) -> None:
        """Log a failure, unless it is the same as the last time."""
        if str(error) != self._failure:
            _LOG.warning(f"{self._name} {what}", error=str(error))
        self._failure = str(error)
