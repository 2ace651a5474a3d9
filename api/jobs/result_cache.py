"""`reuse: true`: the stored image of an identical request, as a copy of the new job's own.

The order makes it safe: the copy's name lies in the trash before the copy is made, and the accept
takes it out in the step that makes the job. Whoever is lost in between leaves nothing behind, and
a source that is deleted meanwhile fails the copy. Then the job is an ordinary one, and paid.
"""

import asyncio
from dataclasses import replace

from api.context import AppContext
from shared.errors import ObjectDamaged, ObjectMissing, StorageDown
from shared.logs import log
from shared.storage.client import object_name
from shared.store.dry_run import find_reusable
from shared.store.job_submission import NewJob

#: A storage that takes longer to copy is not waited for; the trash takes what it copies later.
COPY_SECONDS = 5.0

_log = log(__name__)


async def reuse_image(parts: AppContext, job: NewJob) -> NewJob:
    """Give the job with a copy of an identical request's image, or as it is where none is had."""
    now = int(parts.redis_monitor.now_ms())
    # a paid call's object is named from 1
    name = object_name(job.tenant, job.id, created_at_ms=now, call=0)
    found = await parts.committer.run(find_reusable(job, object_name=name))
    if found is None:
        return job
    try:
        async with asyncio.timeout(COPY_SECONDS):
            await parts.images.copy(found.image, found.copy.image.key, job.id)
    except (StorageDown, ObjectMissing, ObjectDamaged, TimeoutError) as error:
        _log.warning("image not reused", source=found.copy.source, cause=type(error).__name__)
        return job
    return replace(job, reused=found.copy)
