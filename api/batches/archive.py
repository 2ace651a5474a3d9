"""A ZIP of pictures on its way: stored, not deflated, since pictures are compressed already."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self
from zipfile import ZIP_STORED

from zipstream import ZipStream

from api.jobs.image import file_name
from api.pictures import Pictures
from shared.errors import ObjectMissing
from shared.jobs import Image, Job

#: Pictures that are fetched at once: as many as this, and one more byte than that.
AT_ONCE = 8
AT_ONCE_BYTES = 8 * 1024 * 1024
#: Up to this size the manifest waits for its end in memory.
_MANIFEST_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class _Wanted(NamedTuple):
    job_id: str
    image: Image


class Archive:
    """Adds one picture after another; those that are gone are noted, and break nothing."""

    def __init__(self, pictures: Pictures) -> None:
        """Take what reads pictures."""
        self._pictures = pictures
        self._zip = ZipStream(compress_type=ZIP_STORED)
        self._files: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        self._manifest = tempfile.SpooledTemporaryFile(_MANIFEST_BYTES)  # noqa: SIM115  closed by exit

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the manifest."""
        self._manifest.close()

    async def pictures(self, jobs: Sequence[Job]) -> AsyncIterator[bytes]:
        """Give the bytes of the ZIP that the pictures of these jobs make; raises StorageDown."""
        for group in _groups([_Wanted(job.id, job.image) for job in jobs if job.image]):
            for wanted, data in zip(group, await self._fetch(group), strict=True):
                for chunk in self._add(wanted, data):
                    yield chunk

    def of(self, job: Job) -> dict[str, Any]:
        """Say which file has the picture of a job, and why none has."""
        return {"file": self._files.get(job.id), "missing": self._missing.get(job.id)}

    def write(self, lines: bytes) -> None:
        """Add lines to the manifest."""
        self._manifest.write(lines)

    def end(self, name: str) -> Iterator[bytes]:
        """Give the rest of the ZIP: the manifest, under this name, and the directory."""
        self._manifest.seek(0)
        self._zip.add(iter(lambda: self._manifest.read(_CHUNK_BYTES), b""), name)
        yield from self._zip.finalize()

    async def _fetch(self, group: Sequence[_Wanted]) -> list[bytes | None]:
        return await asyncio.gather(*(self._picture(wanted.image) for wanted in group))

    async def _picture(self, image: Image) -> bytes | None:
        try:
            return await self._pictures.whole(image.key, image.bytes)
        except ObjectMissing:
            return None

    def _add(self, wanted: _Wanted, data: bytes | None) -> Iterator[bytes]:
        if data is None:
            self._missing[wanted.job_id] = "the storage no longer has it"
        elif len(data) != wanted.image.bytes:
            self._missing[wanted.job_id] = f"the storage has {len(data):,} bytes of it"
        else:
            name = file_name(wanted.job_id, wanted.image)
            self._files[wanted.job_id] = name
            self._zip.add(data, name)
            yield from self._zip.all_files()


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
