"""`reuse: true`: the stored image of an identical request, copied for the new job.

The order makes this safe: the deletion of the copy is scheduled before copying, and the accept
removes it in the step that creates the job. A crash in between leaves nothing behind; if the source
is deleted in the meantime, the copy fails, and the job runs as an ordinary, paid one.
"""

import asyncio
from dataclasses import replace

from api.context import AppContext
from shared.errors import HistoryDown, ObjectDamaged, ObjectMissing, StorageDown
from shared.logs import log
from shared.storage.object_names import object_name
from shared.store.codec import request_hash
from shared.store.dry_run import ReuseSource, find_reusable
from shared.store.job_submission import NewJob

#: A storage that copies slower than this is not waited for; a late copy is deleted as scheduled.
COPY_SECONDS = 5.0

_log = log(__name__)


async def archived_image(parts: AppContext, job: NewJob) -> ReuseSource | None:
    """Find an archived image; without the history, the job runs as an ordinary one."""
    try:
        return await parts.records.reusable(job.tenant, request_hash(job.spec))
    except HistoryDown as error:
        _log.warning("history not searched for an image to reuse", error=str(error))
        return None


async def reuse_image(parts: AppContext, job: NewJob) -> NewJob:
    """Return the job with a copy of an identical request's image, or unchanged if there is none."""
    now = int(parts.redis_monitor.now_ms())
    # objects of paid calls are numbered from 1
    name = object_name(
        job.tenant, job.id, created_at_ms=now, call=0, prefix=parts.settings.s3_prefix
    )
    found = await parts.committer.run(find_reusable(job, object_name=name))
    if found is None and (archived := await archived_image(parts, job)):
        found = await parts.committer.run(find_reusable(job, object_name=name, archived=archived))
    if found is None:
        return job
    try:
        async with asyncio.timeout(COPY_SECONDS):
            await parts.images.copy(found.image, found.copy.image.key, job.id)
    except (StorageDown, ObjectMissing, ObjectDamaged, TimeoutError) as error:
        _log.warning("image not reused", source=found.copy.source, cause=type(error).__name__)
        return job
    return replace(job, reused=found.copy)
