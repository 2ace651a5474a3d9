"""What a killed S3 server leaves behind: uploads that were never acknowledged."""

import time
from pathlib import Path

#: The names that rclone gives to uploads in progress; it hides them, and never removes them.
PATTERN = ".rclone_temp_*"
#: Longer than any upload takes, in seconds.
AGE_SECONDS = 3600.0


def remove(folder: Path, *, age_seconds: float = AGE_SECONDS) -> int:
    """Remove unfinished uploads below `folder` that nothing was written to for `age_seconds`.

    Gives how many there were. A file that somebody else removes meanwhile does no harm.
    """
    oldest = time.time() - age_seconds
    old = [path for path in folder.rglob(PATTERN) if _written_at(path) < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
