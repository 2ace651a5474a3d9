"""Atomic file writes."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

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
    """Write a temporary file and rename it; raise OSError."""
    with NamedTemporaryFile(dir=path.parent, prefix=DRAFT, delete=False) as draft:
        try:
            draft.write(data)
            draft.flush()
            os.fsync(draft.fileno())
            Path(draft.name).chmod(0o666 & ~_umask())
            Path(draft.name).replace(path)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise


def _umask() -> int:
    """Return the process' umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
