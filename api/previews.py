"""Previews of images: made on the first request, and stored beside their images."""

import asyncio
import hashlib
from dataclasses import replace
from functools import partial

from api.image_streaming import ImageStreamer
from api.records import Records
from shared.errors import ImageDamaged, ImageTooLarge, ObjectDamaged, ObjectMissing
from shared.image_files import PREVIEW, is_complete_webp, make_preview
from shared.jobs import Image
from shared.logs import log
from shared.storage.object_names import preview_key
from shared.store.archive import schedule_object_deletions
from shared.store.group_commit import GroupCommitClient

#: Previews that one process makes at once; further ones wait.
MAKERS = 2

_log = log(__name__)


class Previews:
    """Return previews, and make those that are missing.

    Two processes may make the same one at once: the later write replaces the earlier.
    """

    def __init__(
        self,
        images: ImageStreamer,
        records: Records,
        committer: GroupCommitClient,
        *,
        max_pixels: int,
    ) -> None:
        """Take what reads and writes images, jobs and deletions; larger images have no preview."""
        self._images = images
        self._records = records
        self._run = committer.run
        self._max_pixels = max_pixels
        self._turns = asyncio.Semaphore(MAKERS)
        self._tasks: dict[str, asyncio.Task[bytes]] = {}

    async def get(self, image: Image, job_id: str) -> bytes:
        """Return the preview of a job's image. Concurrent requests for it share one task.

        Raise StorageDown, ObjectMissing, ObjectDamaged (also where the image cannot be decoded),
        StoreError and HistoryDown.
        """
        task = self._tasks.get(image.key)
        if task is None:
            task = asyncio.create_task(self._get(image, job_id))
            self._tasks[image.key] = task
            task.add_done_callback(partial(self._finish, image.key))
        return await asyncio.shield(task)  # a client that leaves does not end it for the others

    def _finish(self, key: str, task: "asyncio.Task[bytes]") -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # retrieve the exception, in case no client has stayed

    async def _get(self, image: Image, job_id: str) -> bytes:
        stored = await self._stored(preview_key(image.key))
        if stored is not None:
            return stored
        async with self._turns:
            return await self._make(image, job_id)

    async def _stored(self, key: str) -> bytes | None:
        """Return a stored preview; None if there is none, or it is damaged and to be made again."""
        try:
            data = await self._images.find(key)
        except ObjectDamaged:
            return None
        if data is None or is_complete_webp(data):
            return data
        _log.warning("stored image damaged", key=key)
        return None

    async def _make(self, image: Image, job_id: str) -> bytes:
        data = await self._images.whole(image)
        made = await self._images.in_thread(partial(self._made, data))
        stored = replace(
            image,
            key=preview_key(image.key),
            content_type=PREVIEW.content_type,
            bytes=len(made),
            sha256=hashlib.sha256(made).hexdigest(),
        )
        await self._images.put(stored, made, job_id)
        await self._check_owner(image, job_id)
        return made

    def _made(self, data: bytes) -> bytes:
        try:
            return make_preview(data, max_pixels=self._max_pixels)
        except (ImageDamaged, ImageTooLarge) as error:
            raise ObjectDamaged(str(error)) from error

    async def _check_owner(self, image: Image, job_id: str) -> None:
        """Schedule the deletion of a preview whose image was deleted while the preview was made."""
        found = await self._records.job(job_id, "")
        kept = found.job.image if found and not found.job.image_deleted_at else None
        if kept and kept.key == image.key:
            return
        await self._run(schedule_object_deletions([preview_key(image.key)]))
        raise ObjectMissing("The image has just been deleted.")
