"""Holding an answer until a job is as the client wants it."""

import time
from collections.abc import Callable

from api.context import AppContext
from api.long_poll import SAFETY_SECONDS, Subscription
from shared.store.job_queries import QueuedJob


async def wait_for(
    parts: AppContext,
    job_id: str,
    tenant: str,
    enough: Callable[[QueuedJob], bool],
    seconds: float,
) -> QueuedJob | None:
    """Read a job until it is `enough`, `seconds` at most; gives how it stands then.

    None where there is no such job (any more). Raises StoreError.
    """
    ends_at = time.monotonic() + seconds
    with parts.notifications.subscribe(job_id) as subscription:
        while True:
            queued_job = await parts.read(job_id, tenant)
            if queued_job is None or enough(queued_job) or parts.notifications.closing:
                return queued_job
            if not await heard(subscription, ends_at):
                return queued_job


async def heard(subscription: Subscription, ends_at: float) -> bool:
    """Wait for the next reason to look; False when the time (monotonic, seconds) is over."""
    left = ends_at - time.monotonic()
    if left <= 0:
        return False
    if not await subscription.wait(min(left, SAFETY_SECONDS)):
        return time.monotonic() < ends_at
    return True


def is_final(queued_job: QueuedJob) -> bool:
    """Tell whether a job is final."""
    return queued_job.job.state.is_final
