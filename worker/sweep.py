"""The sweep thread; a short lock lets one process at a time run it.

Its steps are in `shared/lua/operations/sweep.lua`: due attempts become ready, jobs with expired
leases are requeued, deadlines end jobs that are not at the provider, and missing permits are
pushed. It also continues batches whose process stopped: see `advance_batch.lua`.
"""

import time
from collections import Counter
from collections.abc import Sequence

from shared import metrics
from shared.errors import ErrorCode
from shared.logs import log
from shared.store import maintenance
from shared.store.batches import BatchWork, advance_batch
from shared.store.budgets import CrossedThreshold
from shared.store.client import Store
from shared.store.maintenance import SweepResult

_LOG = log(__name__)

#: Due attempts start at most this late, in seconds.
INTERVAL_SECONDS = 0.5
#: How many members one sweep touches, so that Redis is never blocked for long: ending a job takes
#: 0.1 to 0.3 ms. And how many sweeps run in a row while more is left: 20,000 simultaneous deadlines
#: end within seconds, and other commands are served between two sweeps.
MOST = 50
SWEEPS_IN_A_ROW = 400
#: Chunks of batches that one sweep processes.
CHUNKS = 20


class Sweeper:
    """Run the sweep every `interval_seconds`."""

    def __init__(self, store: Store, *, worker: str, lease_seconds: float) -> None:
        """Take the name of the worker, and the length of leases."""
        self._store = store
        self._worker = worker
        self._lease_seconds = lease_seconds
        #: well below a third of the lease: a longer gap counts as an outage of Redis
        self.interval_seconds = min(INTERVAL_SECONDS, lease_seconds / 6)

    def sweep(self) -> None:
        """Sweep, unless another process does, until nothing is left; record the results."""
        for _ in range(SWEEPS_IN_A_ROW):
            swept = self._sweep_once()
            if swept is None:
                return
            metrics.LAST_SWEEP.set(time.time())
            _count(swept)
            _report(swept.crossed)
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
        """Continue batches whose commit, cancellation or discarding is unfinished."""
        for _ in range(CHUNKS):
            if self._store.run(advance_batch()) is BatchWork.IDLE:
                return


def _report(crossed: Sequence[CrossedThreshold]) -> None:
    for one in crossed:
        budget = one.budget
        metrics.BUDGET_THRESHOLDS.labels(
            budget.scope.value, budget.period.value, str(one.threshold)
        ).inc()
        _LOG.warning(
            "budget threshold reached",
            tenant=one.tenant,
            key=one.key_id,
            period=budget.period.value,
            threshold=one.threshold,
            used=budget.used,
            limit=budget.limit,
        )


def _count(swept: SweepResult) -> None:
    for reason in swept.rescued:
        metrics.RESCUED_JOBS.labels(reason).inc()
    for one in swept.ended:
        metrics.JOBS_FINISHED.labels(one.model, one.status.value, one.error_code).inc()
        metrics.JOB_TOTAL_SECONDS.labels(one.status.value).observe(one.seconds)
    codes = [code for _, code in swept.failed]
    # a worker lost during its provider call: the call is counted on the job too
    unknown = swept.rescued.count("calling") + codes.count(ErrorCode.PROVIDER_UNKNOWN_OUTCOME)
    metrics.PROVIDER_UNKNOWN_OUTCOMES.inc(unknown)
