"""Files that are there whole or not at all."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

#: Extensions that say what is in an image, so that a wrong one would lie.
_IMAGE_EXTENSIONS = frozenset({".webp", ".jpg", ".jpeg", ".png", ".gif", ".avif"})

#: How the name of a file begins that is not whole yet.
DRAFT = ".darkroom-"


def image_path(wanted: Path, *, name: str, extension: str) -> Path:
    """Say where an image goes: a folder gets `name`, and the extension is what the bytes are."""
    if wanted.is_dir():
        return wanted / f"{name}{extension}"
    suffix = wanted.suffix.lower()
    if suffix == extension or (suffix, extension) == (".jpeg", ".jpg"):
        return wanted
    if suffix in _IMAGE_EXTENSIONS:
        return wanted.with_suffix(extension)
    return wanted.with_name(f"{wanted.name}{extension}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there; raises OSError."""
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
    """Read the process' umask; there is no way to read it but to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
