"""The journal of a folder: an append-only file of JSON lines.

A request and its idempotency key are on disk before it is sent. So after a crash at any time, the
next run sends the same request with the same key, or finds the batch it created. A request that was
certainly refused is dropped.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from darkroom.bulk.plan import Entry
from darkroom.bulk.row import ENTRY
from darkroom.errors import UsageError
from darkroom.files import DRAFT

FILE = ".darkroom.jsonl"


@dataclass
class RequestedImage:
    """A batch as it was or will be sent; `names` are the files by entry, without extension."""

    key: str
    at: float
    jobs: Sequence[Mapping[str, Any]]
    names: Mapping[str, str]
    batch: str | None = None


@dataclass
class Journal:
    """The requests, by idempotency key."""

    file: BinaryIO
    requested: dict[str, RequestedImage] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str]:
        """The file name of each requested entry."""
        return {entry: name for one in self.requested.values() for entry, name in one.names.items()}

    def record_requested(self, entries: Sequence[Entry]) -> None:
        """Record what will be sent next, and with which key."""
        first = len(self.names) + 1
        names = {one.id: f"{number:04d}-{one.slug}" for number, one in enumerate(entries, first)}
        jobs = [_marked(one) for one in entries]
        self._add({"key": f"cli-{uuid4().hex}", "at": time.time(), "jobs": jobs, "names": names})

    def accepted(self, key: str, batch: str) -> None:
        """Record the batch that a key created."""
        self._add({"key": key, "batch": batch})

    def refused(self, key: str) -> None:
        """Record that a key created nothing and never will."""
        self._add({"key": key, "refused": True})

    def _add(self, record: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.learn(record)

    def learn(self, record: Mapping[str, Any]) -> None:
        """Apply one record."""
        key = record["key"]
        if "jobs" in record:
            self.requested[key] = RequestedImage(key, record["at"], record["jobs"], record["names"])
        elif "batch" in record:
            self.requested[key].batch = record["batch"]
        else:
            del self.requested[key]


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """Open the journal of a folder, exclusively; raise UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / FILE).open("a+b")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror}).") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another run uses {folder}: wait, or name another with --out."
            ) from None
        for draft in folder.glob(f"{DRAFT}*"):
            draft.unlink(missing_ok=True)  # of a run that was killed
        yield _read(file)


def _read(file: BinaryIO) -> Journal:
    """Read the valid lines; raise UsageError if more than the end is damaged.

    Each record is on disk before it takes effect. So an end torn by a killed process or a power
    loss never took effect.
    """
    journal = Journal(file)
    file.seek(0)
    lines = list(file)
    entries = list(takewhile(partial(_learned, journal), lines))
    if any(map(_record, lines[len(entries) + 1 :])):
        raise UsageError(
            f"{file.name}, line {len(entries) + 1}: this record is damaged, and others follow. "
            "Restore the file from a backup, or name another folder with --out: there all images "
            "are requested and paid for again."
        )
    file.truncate(sum(map(len, entries)))
    return journal


def _learned(journal: Journal, line: bytes) -> bool:
    """Apply a record; return false for a damaged one."""
    record = _record(line)
    if record is None:
        return False
    try:
        journal.learn(record)
    except (KeyError, TypeError):
        return False
    return True


def _record(line: bytes) -> Mapping[str, Any] | None:
    """Parse one line; None if it is not a complete record."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


def _marked(entry: Entry) -> dict[str, Any]:
    """Return the job of an entry, tagged with the entry."""
    return {**entry.body, "metadata": {**entry.body.get("metadata", {}), ENTRY: entry.id}}
