"""A ZIP of images on its way: stored, not deflated, since images are compressed already.

Each entry has its size and its CRC before its bytes, not after them: readers that go from the first
byte to the last, such as Java's ZipInputStream, take stored entries in no other form.
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

#: Images that are fetched at once: as many as this, and one more byte than that.
AT_ONCE = 8
AT_ONCE_BYTES = 8 * 1024 * 1024
#: Up to this size an entry waits for its end in memory, else on disk.
_ENTRY_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class _Wanted(NamedTuple):
    job_id: str
    image: Image


class ZipStream:
    """Adds one image after another; those gone or damaged are noted, and break nothing."""

    def __init__(self, images: ImageStreamer) -> None:
        """Take what reads images."""
        self._images = images
        self._files: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        self._written = _Buffer()
        self._zip = ZipFile(self._written, "w")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what was not sent."""
        self._zip.close()  # else its finalizer would write to what is closed
        self._written.close()

    async def images(self, jobs: Sequence[Job]) -> AsyncIterator[bytes]:
        """Give the bytes of the ZIP that the images of these jobs make; raises StorageDown."""
        for group in _groups([_Wanted(job.id, job.image) for job in jobs if job.image]):
            for wanted, data in zip(group, await self._fetch(group), strict=True):
                for chunk in self._add(wanted, data):
                    yield chunk

    def of(self, job: Job) -> dict[str, Any]:
        """Say which file has the image of a job, and why none has."""
        return {"file": self._files.get(job.id), "missing": self._missing.get(job.id)}

    def begin(self, name: str) -> IO[bytes]:
        """Open the last entry, under this name, for writing; it is to be closed before the end."""
        return self._zip.open(_entry(name), "w")

    def end(self) -> Iterator[bytes]:
        """Give the rest of the ZIP: the last entry and the directory."""
        self._zip.close()
        yield from self._written.drain()

    async def _fetch(self, group: Sequence[_Wanted]) -> list[bytes | str]:
        return await asyncio.gather(*(self._read_image(wanted.image) for wanted in group))

    async def _read_image(self, image: Image) -> bytes | str:
        """Return the bytes, or why there are none."""
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
    """A file that is sent while it is written.

    The part since `take` was last called can be sought in and written over: so an entry's size and
    CRC get into its header once they are known.
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
        """There is nothing to wait for."""

    def drain(self) -> Iterator[bytes]:
        """Yield what was written since the last time; from then on it cannot be sought in."""
        with self._part as part:
            self._sent += part.tell()
            self._part = _part()
            part.seek(0)
            yield from iter(lambda: part.read(_CHUNK_BYTES), b"")

    def close(self) -> None:
        self._part.close()


def _part() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_ENTRY_BYTES)  # closed by who takes it


def _entry(name: str) -> ZipInfo:
    return ZipInfo(name, date_time=time.localtime()[:6])


def _groups(wanted: Sequence[_Wanted]) -> Iterator[list[_Wanted]]:
    """Put together what is fetched at once."""
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
