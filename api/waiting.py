"""Holding an answer until a job is as the client wants it."""

import time
from collections.abc import Callable

from api.parts import Parts
from api.wake import SAFETY_SECONDS, Bell
from shared.store.reading import Standing


async def wait_for(
    parts: Parts,
    job_id: str,
    tenant: str,
    enough: Callable[[Standing], bool],
    seconds: float,
) -> Standing | None:
    """Read a job until it is `enough`, `seconds` at most; gives how it stands then.

    None where there is no such job (any more). Raises StoreError.
    """
    ends_at = time.monotonic() + seconds
    with parts.wake.bell(job_id) as bell:
        while True:
            standing = await parts.read(job_id, tenant)
            if standing is None or enough(standing) or parts.wake.closing:
                return standing
            if not await heard(bell, ends_at):
                return standing


async def heard(bell: Bell, ends_at: float) -> bool:
    """Wait for the next reason to look; False when the time (monotonic, seconds) is over."""
    left = ends_at - time.monotonic()
    if left <= 0:
        return False
    if not await bell.listen(min(left, SAFETY_SECONDS)):
        return time.monotonic() < ends_at
    return True


def is_final(standing: Standing) -> bool:
    """Tell whether a job is final."""
    return standing.job.state.is_final
