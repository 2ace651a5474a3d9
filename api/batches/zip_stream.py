"""Stream a ZIP of images: stored, not deflated, because images are already compressed.

The size and CRC of each entry precede its data: streaming readers such as Java's ZipInputStream
accept stored entries in no other form.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import IO, Any, NamedTuple, Self
from zipfile import ZipFile, ZipInfo

from api.image_streaming import ImageStreamer
from api.jobs.image import file_name
from shared.errors import ObjectDamaged, ObjectMissing
from shared.jobs import Image, Job

#: Images fetched at once: at most this number, and this many bytes.
AT_ONCE = 8
AT_ONCE_BYTES = 8 * 1024 * 1024
#: Up to this size, an entry is buffered in memory, otherwise on disk.
_ENTRY_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class _Wanted(NamedTuple):
    job_id: str
    image: Image


class ZipStream:
    """Add images one after another; missing and damaged ones are recorded and skipped."""

    def __init__(self, images: ImageStreamer) -> None:
        """Take the reader of images."""
        self._images = images
        self._files: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        self._written = _Buffer()
        self._zip = ZipFile(self._written, "w")

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release what was not sent."""
        self._zip.close()  # otherwise its finalizer would write to a closed file
        self._written.close()

    async def images(self, jobs: Sequence[Job]) -> AsyncIterator[bytes]:
        """Yield the bytes of the ZIP for the images of these jobs; raise StorageDown."""
        for group in _groups([_Wanted(job.id, job.image) for job in jobs if job.image]):
            for wanted, data in zip(group, await self._fetch(group), strict=True):
                for chunk in self._add(wanted, data):
                    yield chunk

    def of(self, job: Job) -> dict[str, Any]:
        """Return the file name of a job's image, or why there is none."""
        return {"file": self._files.get(job.id), "missing": self._missing.get(job.id)}

    def begin(self, name: str) -> IO[bytes]:
        """Open the last entry, with this name, for writing; it must be closed before the end."""
        return self._zip.open(_entry(name), "w")

    def end(self) -> Iterator[bytes]:
        """Return the rest of the ZIP: the last entry and the directory."""
        self._zip.close()
        yield from self._written.drain()

    async def _fetch(self, group: Sequence[_Wanted]) -> list[bytes | str]:
        return await asyncio.gather(*(self._read_image(wanted.image) for wanted in group))

    async def _read_image(self, image: Image) -> bytes | str:
        """Return the bytes of an image, or why it is missing."""
        try:
            return await self._images.whole(image)
        except ObjectMissing:
            return "the storage no longer has it"
        except ObjectDamaged:
            return "the storage has other bytes than were stored"

    def _add(self, wanted: _Wanted, data: bytes | str) -> Iterator[bytes]:
        if isinstance(data, str):
            self._missing[wanted.job_id] = data
        else:
            name = file_name(wanted.job_id, wanted.image)
            self._files[wanted.job_id] = name
            self._zip.writestr(_entry(name), data)
            yield from self._written.drain()


class _Buffer:
    """A file that is sent while it is being written.

    The part written since the last `drain` can be overwritten, so that the size and CRC of an entry
    can be filled into its header.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._part = _part()

    def tell(self) -> int:
        return self._sent + self._part.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._sent + self._part.seek(offset - self._sent, whence)

    def write(self, data: bytes) -> int:
        return self._part.write(data)

    def flush(self) -> None:
        """Do nothing; ZipFile calls this."""

    def drain(self) -> Iterator[bytes]:
        """Return what was written since the last call; it cannot be changed any more."""
        with self._part as part:
            self._sent += part.tell()
            self._part = _part()
            part.seek(0)
            yield from iter(lambda: part.read(_CHUNK_BYTES), b"")

    def close(self) -> None:
        self._part.close()


def _part() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_ENTRY_BYTES)  # the caller closes it


def _entry(name: str) -> ZipInfo:
    return ZipInfo(name, date_time=time.localtime()[:6])


def _groups(wanted: Sequence[_Wanted]) -> Iterator[list[_Wanted]]:
    """Group the jobs whose images are fetched together."""
    group: list[_Wanted] = []
    size = 0
    for one in wanted:
        group.append(one)
        size += one.image.bytes
        if len(group) == AT_ONCE or size >= AT_ONCE_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
