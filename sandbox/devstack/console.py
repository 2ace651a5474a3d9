"""Output of the stack and its processes: to the terminal, and to a file for each."""

import json
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

#: A log is moved to NAME.log.1 when it exceeds this many bytes.
LOG_BYTES = 20_000_000
#: How many last lines of a process are shown when it fails.
LAST_LINES = 20
_NAME_WIDTH = 11


class Screen:
    """The terminal (`console`), or a stream of JSON lines."""

    def __init__(self, *, console: bool, stream: TextIO = sys.stderr) -> None:
        self.console = console
        self._stream = stream
        self._heard = True

    def pass_on(self, name: str, line: str) -> None:
        """Pass on a line of the process `name`: with its name on a terminal, else as JSON."""
        if self.console:
            self._write(f"{name:<{_NAME_WIDTH}} {line}")
        elif line.startswith("{"):
            self._write(line)
        else:
            self._write(_as_json(line, level="info", name=name))

    def log(self, event: str, *, level: str = "info", name: str = "stack") -> None:
        """Log an event of the stack, or about the process `name`."""
        self._write(
            f"{name:<{_NAME_WIDTH}} {event}"
            if self.console
            else _as_json(event, level=level, name=name)
        )

    def _write(self, line: str) -> None:
        if self._heard:
            try:
                print(line, file=self._stream, flush=True)
            except (OSError, ValueError):
                # Nobody reads any more: the stack continues, and its files contain everything.
                self._heard = False


def _as_json(event: str, *, level: str, name: str) -> str:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"timestamp": at, "level": level, "logger": "stack", "process": name, "event": event}
    return json.dumps(record, ensure_ascii=False)


class Log:
    """The output of one process, over all its restarts."""

    def __init__(self, path: Path, name: str, screen: Screen | None) -> None:
        """Write to `path`, and line by line to `screen` if given."""
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._path = path
        self._name = name
        self._screen = screen
        self._file = self._open()
        self._rest = b""

    def add(self, output: bytes) -> None:
        """Add output of the process, in chunks of any size."""
        self._buffer(output)
        *lines, self._rest = (self._rest + output).split(b"\n")
        for line in lines:
            self._write_line(line)

    def end(self) -> None:
        """Pass on the last line, if its newline never came."""
        if self._rest:
            self._write_line(self._rest)
        self._rest = b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> BinaryIO:
        return self._path.open("ab", buffering=0)

    def _buffer(self, output: bytes) -> None:
        try:
            if self._file.tell() > LOG_BYTES:
                self._file.close()
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._file = self._open()
            self._file.write(output)
        except OSError:
            # The disk is full: the service is more important than its log.
            return

    def _write_line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self.last.append(text)
        if self._screen and text:
            self._screen.pass_on(self._name, text)
