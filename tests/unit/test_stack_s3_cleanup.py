"""What a killed S3 server leaves behind is removed, when it can be nothing else."""

import os
from pathlib import Path

from sandbox.devstack.s3_cleanup import AGE_SECONDS, remove


def test_only_old_unfinished_uploads_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "tenant" / "2026"
    folder.mkdir(parents=True)
    names = (".rclone_temp_put_old", ".rclone_temp_put_new", "image.webp")
    old, new, image = (folder / name for name in names)
    for path in (old, new, image):
        path.touch()
    for path in (old, image):
        before = path.stat().st_mtime - AGE_SECONDS - 1
        os.utime(path, (before, before))

    assert remove(tmp_path) == 1
    assert sorted(path.name for path in folder.iterdir()) == [new.name, image.name]
