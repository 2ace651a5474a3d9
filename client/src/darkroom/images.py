"""Images that can be downloaded and saved, for both clients."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from darkroom.errors import ImageBroken
from darkroom.files import image_path, write_atomically
from darkroom.models import ImageFacts

Bytes = bytes  # inside the classes below the name means the method


@dataclass(frozen=True)
class Image(ImageFacts):
    """A stored image, as returned by `Client`."""

    fetch: Callable[[ImageFacts, bool], Bytes] = field(repr=False, compare=False)

    def bytes(self, *, preview: bool = False) -> Bytes:
        """Download the image, or its preview, a small WebP.

        Raise ImageBroken, NotFound (deleted) or Unavailable.
        """
        return self.fetch(self, preview)

    def save(self, path: str | Path = ".", *, preview: bool = False) -> Path:
        """Write the image or its preview to a file atomically, and return its path.

        In a folder, the file is named after the job. The extension fits the bytes: `x.png` becomes
        `x.webp` if the image is WebP. An existing file is replaced. Raise OSError, too.
        """
        return _save(self, path, self.bytes(preview=preview), preview=preview)


@dataclass(frozen=True)
class AsyncImage(ImageFacts):
    """A stored image, as returned by `AsyncClient`."""

    fetch: Callable[[ImageFacts, bool], Awaitable[Bytes]] = field(repr=False, compare=False)

    async def bytes(self, *, preview: bool = False) -> Bytes:
        """Download the image or its preview; see `Image.bytes`."""
        return await self.fetch(self, preview)

    async def save(self, path: str | Path = ".", *, preview: bool = False) -> Path:
        """Write the image or its preview to a file; see `Image.save`."""
        data = await self.bytes(preview=preview)
        # on a thread: the disk takes as long as the download
        return await asyncio.to_thread(_save, self, path, data, preview=preview)


def facts_of(image: ImageFacts) -> dict[str, Any]:
    """Return the fields of both kinds of images."""
    return {one.name: getattr(image, one.name) for one in fields(ImageFacts)}


def checked(image: ImageFacts, data: Bytes) -> Bytes:
    """Return the bytes if they are those of this image; raise ImageBroken."""
    if image.sha256 and hashlib.sha256(data).hexdigest() != image.sha256:
        raise ImageBroken(
            f"The download of {image.job_id} has {len(data):,} bytes of something else."
        )
    return data


def _save(image: ImageFacts, path: str | Path, data: Bytes, *, preview: bool) -> Path:
    name = f"{image.job_id}-preview" if preview else image.job_id
    extension = ".webp" if preview else image.extension
    target = image_path(Path(path), name=name, extension=extension)
    write_atomically(target, data)
    return target
