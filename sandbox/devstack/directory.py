"""What the stack keeps in its directory: data, ports, keys, logs, images, and what runs now.

DIR/redis, DIR/s3        the data of the two servers
DIR/history              the database of the history
DIR/ports.json           where everything listened last time
DIR/keys.json            the keys of the S3 server and of the first tenant (0600)
DIR/stack.json           what runs now, for scripts (0600); there only while the stack is ready
DIR/lock                 held while a stack runs here
DIR/running.json         the process that holds it, and the URL of its API
DIR/redis/reserve        disk space to release when the disk is almost full
DIR/logs, DIR/images
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from shared.errors import DarkroomError

FOLDERS = ("redis", "s3", "history", "logs", "images")


class AlreadyRuns(DarkroomError):
    """Another stack runs in the same directory."""


class BadDirectory(DarkroomError):
    """The directory is unusable, or its files are unreadable."""


class DamagedFile(BadDirectory):
    """A file of the directory is damaged, as after a power loss."""


def prepare(path: Path) -> Path:
    """Create the directory, private to the user, and its folders; return its absolute path."""
    try:
        path = path.expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FOLDERS:
            (path / name).mkdir(exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ has no home, or links form a loop
        reason = error.strerror if isinstance(error, OSError) else str(error).removesuffix(".")
        raise BadDirectory(
            f"The directory {path} cannot be used: {reason}. Name another with --data."
        ) from error
    return path


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the directory for this process; the system unlocks it however the process ends.

    Raise AlreadyRuns with the pid and the URL of the other stack, and BadDirectory.
    """
    with _opened(directory / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRuns(_who_runs(directory)) from None
        write_json(directory / "running.json", {"pid": os.getpid()})
        try:
            yield
        finally:
            (directory / "running.json").unlink(missing_ok=True)


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _not_written(path, error) from error


def _who_runs(directory: Path) -> str:
    previous = recall(directory / "running.json")
    where = f" at {previous['api']}" if "api" in previous else ""
    return (
        f"A stack is already running in {directory} (pid {previous.get('pid', 'unknown')}){where}: "
        "stop "
        "it with Ctrl-C there, or give this one another directory with --data."
    )


def note_address(directory: Path, api: str) -> None:
    """Record where this stack listens, while holding the lock."""
    write_json(directory / "running.json", {"pid": os.getpid(), "api": api})


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of the directory; a missing one is empty.

    Raise DamagedFile, and BadDirectory if it cannot be opened.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadDirectory(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DamagedFile(f"{path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is not what a stack wrote.")
    return content


def recall(path: Path) -> dict[str, Any]:
    """Read an optional file; an unreadable one is empty."""
    try:
        return read_json(path)
    except BadDirectory:
        return {}


def set_aside(path: Path) -> Path:
    """Rename a damaged file so that another can be written; return its new name."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    return path.rename(aside)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of the directory atomically, readable by its owner only.

    It survives a power loss. Raise BadDirectory.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        _write_new(beside, json.dumps(content, indent=2))
        beside.replace(path)
        sync(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error


def _write_new(path: Path, text: str) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(number)


def _not_written(path: Path, error: OSError) -> BadDirectory:
    return BadDirectory(
        f"{path} cannot be written: {error.strerror}. Make room, or name another directory with "
        "--data."
    )


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
