"""Atomic file writes."""

import os
from pathlib import Path
from uuid import uuid4

#: Image extensions, of which a wrong one would be misleading.
_IMAGE_EXTENSIONS = frozenset({".webp", ".jpg", ".jpeg", ".png", ".gif", ".avif"})

#: The prefix of incomplete files.
DRAFT = ".darkroom-"


def image_path(wanted: Path, *, name: str, extension: str) -> Path:
    """Return the path of an image: in a folder it is `name`, and the extension fits the bytes."""
    if wanted.is_dir():
        return wanted / f"{name}{extension}"
    suffix = wanted.suffix.lower()
    if suffix == extension or (suffix, extension) == (".jpeg", ".jpg"):
        return wanted
    if suffix in _IMAGE_EXTENSIONS:
        return wanted.with_suffix(extension)
    return wanted.with_name(f"{wanted.name}{extension}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a new file and rename it; raise OSError."""
    draft = path.with_name(f"{DRAFT}{uuid4().hex}")
    with draft.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
