"""The thread that puts right what time has brought; one process at a time does it, by a short lock.

What it does is in `shared/lua/operations/sweep.lua`: due attempts become ready, expired leases are
rescued, deadlines end what is not at the provider, and missing permits are pushed. Beside that it
advances the batches that nobody else does: see `advance_batch.lua`.
"""

import time
from collections import Counter

from shared import metrics
from shared.errors import ErrorCode
from shared.logs import log
from shared.store import maintenance
from shared.store.batches import BatchWork, advance_batch
from shared.store.client import Store
from shared.store.maintenance import SweepResult

_LOG = log(__name__)

#: Due attempts wait this long at most beyond their time, in seconds.
INTERVAL_SECONDS = 0.5
#: How many members one sweep touches, so that Redis is never held for long: an ended job takes 0.1
#: to 0.3 ms. How many sweeps are made in a row while more is left: 20,000 deadlines of one instant
#: end within seconds, and other commands are served between two sweeps.
MOST = 50
SWEEPS_IN_A_ROW = 400
#: Chunks of batches that one sweep tends.
CHUNKS = 20


class Sweeper:
    """Sweeps, as often as `interval_seconds` says."""

    def __init__(self, store: Store, *, worker: str, lease_seconds: float) -> None:
        """Say who sweeps, and how long leases are."""
        self._store = store
        self._worker = worker
        self._lease_seconds = lease_seconds
        #: well under a third of the lease: a longer gap counts as an absence of Redis
        self.interval_seconds = min(INTERVAL_SECONDS, lease_seconds / 6)

    def sweep(self) -> None:
        """Sweep, unless another process does, until nothing is left; record what was put right."""
        for _ in range(SWEEPS_IN_A_ROW):
            swept = self._sweep_once()
            if swept is None:
                return
            metrics.LAST_SWEEP.set(time.time())
            _count(swept)
            if swept.rescued or swept.failed:
                failed = Counter(code for _, code in swept.failed)
                _LOG.warning("swept", rescued=swept.rescued, ids=swept.ids, failed=failed)
            if not swept.more:
                break
        self._advance_batches()

    def _sweep_once(self) -> SweepResult | None:
        return self._store.run(
            maintenance.sweep(
                self._worker,
                lock_seconds=2 * self.interval_seconds,
                lease_seconds=self._lease_seconds,
                most=MOST,
            )
        )

    def _advance_batches(self) -> None:
        """Do what whoever committed, canceled or gave up a batch has left undone."""
        for _ in range(CHUNKS):
            if self._store.run(advance_batch()) is BatchWork.IDLE:
                return


def _count(swept: SweepResult) -> None:
    for reason in swept.rescued:
        metrics.RESCUED_JOBS.labels(reason).inc()
    for one in swept.ended:
        metrics.JOBS_FINISHED.labels(one.model, one.status.value, one.error_code).inc()
        metrics.JOB_TOTAL_SECONDS.labels(one.status.value).observe(one.seconds)
    codes = [code for _, code in swept.failed]
    # a worker that was lost while it asked the provider: the call is counted on the job too
    unknown = swept.rescued.count("calling") + codes.count(ErrorCode.PROVIDER_UNKNOWN_OUTCOME)
    metrics.PROVIDER_UNKNOWN_OUTCOMES.inc(unknown)
