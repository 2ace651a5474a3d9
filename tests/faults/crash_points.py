"""Traps: a worker that reaches a step is killed by itself, or waits there for the test.

The test sets one trap at a time, as a file in a directory that it shares with the workers. Whoever
springs it takes the file away first, so that the process that is started in its place lives, unless
the trap says `always`.

Steps: `before` and `after` each script (`before claim`, `after succeed`), and `before` and `after`
`provider`, `download`, `put`.
"""

import json
import os
import signal
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sandbox.wait import wait_until

Action = Literal["kill", "kill soon", "pause"]
#: How long a step goes on before `kill soon` ends it, in seconds.
SOON_SECONDS = 0.25
PAUSE_SECONDS = 60


@dataclass(frozen=True)
class Trap:
    """What happens at a step; `word` must stand in the prompt where it is not empty."""

    step: str
    action: Action = "kill"
    word: str = ""
    always: bool = False


class CrashPoints:
    """The traps in a directory, for the test that sets them and for the worker that meets them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._set = directory / "set.json"
        self._sprung = directory / "sprung"
        self._caught = directory / "caught"
        self._go_on = directory / "go-on"

    # for the test

    def set(self, trap: Trap) -> None:
        """Set a trap in place of the one before."""
        for old in (self._sprung, self._caught, self._go_on):
            old.unlink(missing_ok=True)
        new = self._directory / "new"
        new.write_text(json.dumps(asdict(trap)))
        new.rename(self._set)

    def clear(self) -> None:
        """Take the trap away, and let go on whoever waits in it."""
        self._set.unlink(missing_ok=True)
        self._go_on.touch()

    @property
    def sprung(self) -> bool:
        """Whether a worker was caught."""
        return self._caught.exists()

    @property
    def caught(self) -> int:
        """The process that was caught last."""
        return int(self._caught.read_text())

    @property
    def sprung_at(self) -> float:
        """When, in seconds since 1970."""
        return self._caught.stat().st_mtime

    # for the worker

    def reach(self, step: str, word: str = "") -> None:
        """Do what the trap at this step says, if there is one."""
        trap = self._read()
        if trap and trap.step == step and trap.word in word and self._take(trap):
            self._note(str(os.getpid()))
            _ACTIONS[trap.action](self)

    def _read(self) -> Trap | None:
        with suppress(FileNotFoundError):
            return Trap(**json.loads(self._set.read_text()))
        return None

    def _take(self, trap: Trap) -> bool:
        if trap.always:
            return True
        with suppress(FileNotFoundError):
            self._set.rename(self._sprung)
            return True
        return False

    def _note(self, pid: str) -> None:
        note = self._directory / f"caught-{pid}"
        note.write_text(pid)
        note.rename(self._caught)

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_soon(self) -> None:
        threading.Timer(SOON_SECONDS, self.kill).start()

    def pause(self) -> None:
        wait_until(self._go_on.exists, "the test", seconds=PAUSE_SECONDS)


_ACTIONS = {
    "kill": CrashPoints.kill,
    "kill soon": CrashPoints.kill_soon,
    "pause": CrashPoints.pause,
}
