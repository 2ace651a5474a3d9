"""Save the images of a batch as they finish, a few at a time."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from darkroom.async_client import AsyncClient, Job
from darkroom.errors import DarkroomError, ImageBroken, NotFound
from darkroom.models import ImageFacts, Raw
from darkroom.models import Job as AnyJob

#: Concurrent downloads.
AT_ONCE = 8
#: The service's code for an image that its storage has damaged.
_DAMAGED = "image_damaged"


class Report(Protocol):
    """Receives the result of each image."""

    def saved(self, file: Path, job: AnyJob[ImageFacts]) -> None:
        """Report an image that is on disk."""
        ...

    def failed(self, job: AnyJob[ImageFacts]) -> None:
        """Report a job that ended without an image."""
        ...

    def unsaved(self, job: AnyJob[ImageFacts], error: DarkroomError) -> None:
        """Report an image that is deleted or damaged."""
        ...

    def refused(self, job_id: str, error: DarkroomError) -> None:
        """Report a job that cannot be retried."""
        ...


async def save_batch(
    client: AsyncClient,
    batch_id: str,
    path_of: Callable[[Job], Path],
    report: Report,
    *,
    only: Callable[[Raw], bool] | None = None,
) -> None:
    """Save the images of a batch until all of its jobs are final.

    `path_of` returns the path of an image without its extension; `only` selects lines of the
    manifest. An error of one image is reported. Raise the first other DarkroomError or OSError.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def save(job: Job) -> None:
        async with slots:
            if job.image is None:
                report.failed(job)
                return
            try:
                file = await job.image.save(path_of(job))
            except DarkroomError as error:
                if not _is_of_one_image(error):
                    raise
                report.unsaved(job, error)
            else:
                report.saved(file, job)

    try:
        async with asyncio.TaskGroup() as group:
            async for job in client.batches.results(batch_id, only=only):
                group.create_task(save(job))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None


def _is_of_one_image(error: DarkroomError) -> bool:
    return isinstance(error, NotFound | ImageBroken) or error.code == _DAMAGED
