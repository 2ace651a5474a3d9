"""Handle low disk space.

With `appendfsync always`, Valkey exits at the first write on a full disk, and again at the first
write after each start. So while space is low no new job is accepted: `maxmemory` is set so low that
Valkey refuses every command that it may refuse, while accepted jobs continue. These finish in the
space of a reserve file, which is deleted when almost nothing is left. The file is next to Valkey's
data, because either of the two servers may have a disk of its own.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sandbox.devstack.console import Screen
from sandbox.servers import MAXMEMORY
from sandbox.wait import POLL_INTERVAL_SECONDS

RESERVE_BYTES = 64 * 2**20
#: With less free space than this, no new job is accepted …
SHORT_BYTES = 64 * 2**20
#: … until there is this much.
ENOUGH_BYTES = 2 * SHORT_BYTES
#: With less free space than this, the reserve is deleted.
LAST_BYTES = 8 * 2**20
CHECK_INTERVAL_SECONDS = 1.0
#: Below the memory use of an empty Valkey.
NO_MEMORY = "1"


class Verdict(NamedTuple):
    """What to do at the current free space."""

    #: Whether new jobs are refused.
    short: bool
    #: Whether the reserve file should exist.
    reserve: bool


def judge(free: int, before: Verdict) -> Verdict:
    """Judge `free` bytes; two thresholds each, so that the result does not flicker."""
    short = free < (ENOUGH_BYTES if before.short else SHORT_BYTES)
    reserve = free >= (LAST_BYTES if before.reserve else RESERVE_BYTES + ENOUGH_BYTES)
    return Verdict(short, reserve)


def least_free(data: Path) -> int:
    """Return the free bytes of the fuller disk, Valkey's or the S3 server's."""
    return min(shutil.disk_usage(data / server).free for server in ("redis", "s3"))


class DiskGuard:
    """Watch the disks of the servers in `data`, for the Valkey on `redis_port`."""

    def __init__(
        self,
        data: Path,
        redis_port: int,
        screen: Screen,
        free_bytes: Callable[[Path], int] = least_free,
    ) -> None:
        self._data = data
        self._redis_port = redis_port
        self._screen = screen
        self._free_bytes = free_bytes
        self._reserve = data / "redis" / "reserve"
        self._restored = True
        self._verdict = Verdict(short=False, reserve=self._reserve.exists())

    async def watch(self) -> None:
        """Check every second, forever."""
        while True:
            with suppress(OSError):  # the disk reports nothing: check again
                await asyncio.to_thread(self.check)
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    def redis_options(self) -> Sequence[str]:
        """Return further options for a Valkey that starts now: its limit, if space is low.

        It has forgotten the previous limit, and would accept jobs until the next check.
        """
        with suppress(OSError):  # the disk reports nothing: `check` tries again
            if judge(self._free_bytes(self._data), self._verdict).short:
                self._restored = False
                return ("--maxmemory", NO_MEMORY)
        return ()

    def check(self) -> None:
        """Check once, and act."""
        before, free = self._verdict, self._free_bytes(self._data)
        verdict = judge(free, before)
        if verdict.reserve != before.reserve:
            verdict = verdict._replace(reserve=self._hold(verdict.reserve))
        if verdict.short != before.short:
            self._log(free, short=verdict.short)
        self._limit(short=verdict.short)
        self._verdict = verdict

    def _hold(self, wanted: bool) -> bool:  # noqa: FBT001  its name is the question
        """Create or delete the reserve; return whether it exists now."""
        if not wanted:
            self._reserve.unlink(missing_ok=True)
            return False
        try:
            with self._reserve.open("wb") as file:
                os.truncate(file.fileno(), RESERVE_BYTES)
                _allocate(file.fileno())
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        return True

    def _log(self, free: int, *, short: bool) -> None:
        megabytes = f"{free / 2**20:.0f} MB are free in {self._data}"
        if short:
            needed = f"{ENOUGH_BYTES / 2**20:.0f} MB"
            message = f"only {megabytes}: no new job is accepted until there are {needed}"
            self._screen.log(message, level="error", name="disk")
        else:
            self._screen.log(f"{megabytes}: new jobs are accepted again", name="disk")

    def _limit(self, *, short: bool) -> None:
        # Repeated while space is low: Valkey may have been restarted.
        if short:
            self._restored = False
            set_maxmemory(self._redis_port, NO_MEMORY)
        elif not self._restored:
            self._restored = set_maxmemory(self._redis_port, MAXMEMORY)


def _allocate(file: int) -> None:
    """Allocate the blocks now: a sparse file would reserve nothing."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, RESERVE_BYTES)


def set_maxmemory(port: int, value: str) -> bool:
    """Set the limit of the Valkey on 127.0.0.1:`port`; return False without a response."""
    try:
        with socket.create_connection(("127.0.0.1", port), POLL_INTERVAL_SECONDS) as connection:
            connection.sendall(f"CONFIG SET maxmemory {value}\r\n".encode())
            return connection.recv(64) == b"+OK\r\n"
    except OSError:
        return False
