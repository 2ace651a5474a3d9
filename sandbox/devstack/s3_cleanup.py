"""Delete unacknowledged uploads that a killed S3 server leaves behind."""

import time
from pathlib import Path

#: rclone's names of unfinished uploads; it hides them, and never deletes them.
PATTERN = ".rclone_temp_*"
#: Longer than any upload takes, in seconds.
AGE_SECONDS = 3600.0


def remove(folder: Path, *, age_seconds: float = AGE_SECONDS) -> int:
    """Delete unfinished uploads below `folder` that were not written to for `age_seconds`.

    Return how many there were. Files deleted by others in the meantime are ignored.
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
