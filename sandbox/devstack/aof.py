"""Repair Valkey's append-only file after a power loss: its end may be torn, zeros or garbage.

With `appendfsync always`, Valkey replies only when a command is on disk, so an interrupted write
follows everything acknowledged: at the end of the last file. That end is cut, after a copy was
saved. Nothing is cut while whole commands follow the damage, because they may have been
acknowledged. Valkey itself refuses to start with zeros or garbage, and silently cuts everything
after a damaged length.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

from sandbox.devstack.directory import sync
from shared.errors import DarkroomError

FOLDER = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"
RUNBOOK = "deploy/runbooks/RedisLogDamaged.md"
#: An RDB without data is smaller: Valkey writes one at its first start, before the manifest.
EMPTY_RDB_BYTES = 256

_ENTRY = re.compile(r"file (\S+) seq \d+ type ([bhi])\b.*")
_COUNT = re.compile(rb"\*([1-9]\d{0,8})\r\n")
_LENGTH = re.compile(rb"\$(\d{1,10})\r\n")
_BEGINNING = re.compile(rb"\*[1-9]\d{0,8}\r\n\$")
_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_ANNOTATION = re.compile(rb"#[ -~]{0,1021}\r\n")
_CHECKED = re.compile(r"\[offset (\d+)\] Checksum OK")


class DamagedLog(DarkroomError):
    """The append-only file has damage that is not repaired here; it was not changed."""


@dataclass(frozen=True)
class Cut:
    """What was cut from a file, and where its copy is."""

    file: Path
    copy: Path
    size: int

    def __str__(self) -> str:
        """Return the sentence for the operator."""
        return (
            f"{self.file.name} ended in the middle of a write, as after a power loss: its last "
            f"{self.size} bytes were cut. Nothing that was acknowledged was in them. The file as "
            f"it was is {self.copy}"
        )


class Extent(NamedTuple):
    """How far a file is readable."""

    #: Where the last whole command or transaction ends.
    complete: int
    #: Where reading stopped: the end of the file, or the first byte of no valid command.
    read: int


def repair(directory: Path, server: Path) -> Cut | None:
    """Make the append-only file in `directory` readable for `server`; return what was cut.

    Raise DamagedLog if more than the end of the last file is damaged, or no copy can be saved.
    """
    files = _files(directory / FOLDER)
    # a list of commands may be empty, a snapshot has at least a beginning and an end
    filled = [path for path in files if path.suffix == ".rdb" or path.stat().st_size]
    last = filled.pop() if filled and filled[-1].suffix == ".aof" else None
    for path in filled:
        _check(path, server)
    return _repair_end(last, directory, server) if last else None


def _files(folder: Path) -> list[Path]:
    """Return the files of the manifest, in the order in which Valkey reads them."""
    manifest = folder / MANIFEST
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        _check_new(folder)
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(manifest, f"cannot be read ({error})") from error
    entries = [_ENTRY.fullmatch(line) for line in lines if not line.startswith("#")]
    if not entries or not all(entries):
        raise _damaged(manifest, "does not list the files of the log")
    files = [folder / entry[1] for entry in entries if entry and entry[2] != "h"]
    for path in files:
        if not path.is_file():
            raise _damaged(path, f"is missing, and {MANIFEST} names it")
    return files


def _check_new(folder: Path) -> None:
    """Raise DamagedLog if there is data but no manifest: Valkey would start empty."""
    for path in sorted(folder.glob("appendonly.aof.*")):
        if path.stat().st_size > (EMPTY_RDB_BYTES if path.suffix == ".rdb" else 0):
            raise _damaged(path, f"holds data, but {MANIFEST} beside it is missing")


def _check(path: Path, server: Path) -> None:
    """Raise DamagedLog unless the whole file is readable."""
    if path.suffix == ".rdb":
        _check_rdb(path, server)
    elif not _passes(path, server) and _extent(path).complete < path.stat().st_size:
        raise _damaged(path, f"is damaged at byte {_extent(path).read}, and is not the last file")


def _check_rdb(path: Path, server: Path) -> None:
    """Let Valkey check its snapshot, including the checksum at its end."""
    checked = _tool("check-rdb", path, server)
    found = _CHECKED.search(checked.stdout)
    if checked.returncode or not found or int(found[1]) != path.stat().st_size:
        raise _damaged(path, "is damaged: the check of its content failed")


def _repair_end(path: Path, directory: Path, server: Path) -> Cut | None:
    if _passes(path, server):
        return None
    with _opened(path) as data:
        extent = _read(data)
        if extent.complete == len(data):
            return None
        follows = _next_command(data, extent.read)
    if follows is not None:
        raise _damaged(
            path, f"is damaged at byte {extent.read}, and whole commands follow at byte {follows}"
        )
    return _cut(path, extent.complete, directory)


def _passes(path: Path, server: Path) -> bool:
    """Let Valkey check a file, which is fast; return False if it must be examined here.

    It takes a last line without an end for an annotation.
    """
    with _opened(path) as data:
        return data[-2:] == b"\r\n" and _tool("check-aof", path, server).returncode == 0


def _tool(name: str, path: Path, server: Path) -> subprocess.CompletedProcess[str]:
    """Run one of Valkey's checkers: the server runs them when called by their names."""
    called = server.name.replace("server", name)
    return subprocess.run(
        [called, path],
        executable=server,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@contextmanager
def _opened(path: Path) -> Iterator[mmap]:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        yield data


def _extent(path: Path) -> Extent:
    with _opened(path) as data:
        return _read(data)


def _read(data: mmap) -> Extent:
    """Read commands, whole transactions and annotations up to the first invalid one."""
    at, complete, in_transaction = 0, 0, False
    while at < len(data):
        annotation = _ANNOTATION.match(data, at)
        end = annotation.end() if annotation else _command_end(data, at)
        begins = data[at : at + len(_MULTI)].upper() == _MULTI
        ends = data[at : at + len(_EXEC)].upper() == _EXEC
        if end is None or (begins and in_transaction) or (ends and not in_transaction):
            break
        at, in_transaction = end, (in_transaction or begins) and not ends
        complete = complete if in_transaction else at
    return Extent(complete, at)


def _command_end(data: mmap, at: int) -> int | None:
    """Return where the command at `at` ends, or None if it is incomplete."""
    count = _COUNT.match(data, at)
    if not count:
        return None
    at = count.end()
    for _ in range(int(count[1])):
        length = _LENGTH.match(data, at)
        if not length:
            return None
        at = length.end() + int(length[1]) + 2
        if data[at - 2 : at] != b"\r\n":
            return None
    return at


def _next_command(data: mmap, after: int) -> int | None:
    """Return where the first whole command at or after `after` begins, if there is one."""
    beginnings = (one.start() for one in _BEGINNING.finditer(data, after))
    return next((at for at in beginnings if _command_end(data, at)), None)


def _cut(path: Path, at: int, directory: Path) -> Cut:
    """Cut the file at `at` once a copy is on disk. Raise DamagedLog."""
    copy = directory / f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    before = path.stat().st_size
    try:
        with path.open("r+b") as file:
            _copy(path, copy)
            file.truncate(at)
            os.fsync(file.fileno())
    except OSError as error:
        if path.stat().st_size == before:
            copy.unlink(missing_ok=True)
        raise _not_cut(path, before - at, copy, error) from error
    return Cut(path, copy, before - at)


def _copy(path: Path, to: Path) -> None:
    shutil.copyfile(path, to)
    sync(to)
    sync(to.parent)


def _not_cut(path: Path, size: int, copy: Path, error: OSError) -> DamagedLog:
    return DamagedLog(
        f"The last {size} bytes of {path} were not written whole, as after a power loss. They can "
        f"be cut only once a copy is kept as {copy}, and that failed: {error.strerror}. Start "
        f"again when {copy.parent} can be written and has {path.stat().st_size} bytes free."
    )


def _damaged(path: Path, how: str) -> DamagedLog:
    return DamagedLog(
        f"Redis cannot start: {path} {how}. Nothing was changed. Keep a copy of {path.parent}, "
        f"then see {RUNBOOK}."
    )
