"""A small disk for servers of the stack, in a mount namespace that ends with the stack.

It is memory (tmpfs). Whoever is not root mounts in a user namespace of his own, where the system
lets him.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

#: Arguments: the disk's folder, its size, then folders that come to lie on it, `--`, the command.
_MOUNT = """
disk=$1 size=$2; shift 2
mount -t tmpfs -o size=$size,mode=0700 small "$disk"
while [ "$1" != -- ]; do
    mkdir "$disk/$(basename "$1")"
    mount --bind "$disk/$(basename "$1")" "$1"
    shift
done
shift
exec "$@"
"""
#: The stack wants its reserve and as much again three times before it has room enough.
SIZE = "320m"
_PIECE_BYTES = 2**20


class SmallDisk:
    """A disk in `folder` that `servers` (`redis`, `s3`) of the stack in `data` share."""

    def __init__(self, folder: Path, data: Path, servers: Sequence[str]) -> None:
        self._folder = folder
        self._pid = 0
        folders = [data / name for name in servers]
        for one in (folder, *folders):
            one.mkdir(parents=True)
        #: Begins the command that runs the stack with its disk.
        self.within = (*namespace(), "sh", "-euc", _MOUNT, "sh", str(folder), SIZE)
        self.within += (*map(str, folders), "--")

    def belongs_to(self, pid: int) -> None:
        """Take the process that sees the disk: nobody else does."""
        self._pid = pid

    @property
    def free(self) -> int:
        return shutil.disk_usage(self._seen).free

    def fill(self) -> None:
        """Leave not a byte, now: whatever is freed later is free."""
        with self._ballast.open("ab", buffering=0) as file:
            self._write(file.fileno(), _PIECE_BYTES)
            self._write(file.fileno(), 1)

    def empty(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _seen(self) -> Path:
        return Path(f"/proc/{self._pid}/root{self._folder}")

    @property
    def _ballast(self) -> Path:
        return self._seen / "ballast"

    def _write(self, file: int, count: int) -> None:
        with suppress(OSError):
            while os.write(file, bytes(count)) == count:
                pass


def namespace() -> list[str]:
    """Begin a command that may mount."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--mount"]


def why_not() -> str:
    """Say why there can be no small disk here; nothing where there can."""
    if shutil.which("unshare") is None:
        return "there is no `unshare` here (util-linux)"
    tried = [*namespace(), "sh", "-c", "mount -t tmpfs small /mnt"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return f"nothing may be mounted here: {done.stderr.strip()}" if done.returncode else ""
