"""Child processes that do not outlive their parent."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

#: prctl(PR_SET_PDEATHSIG, SIGKILL), then the program itself, with the same pid. Used only without
#: `setpriv`: it costs 30 ms instead of 1 ms.
_LEASH = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def with_parent_death_signal(command: Sequence[str]) -> list[str]:
    """Wrap `command` so that Linux kills it when the thread that started it ends.

    Therefore use it from main threads. The wrapper becomes the program (same pid); a `preexec_fn`
    may hang when other threads run. On other systems the command is returned unchanged.
    """
    if sys.platform != "linux":
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv:
        return [setpriv, "--pdeathsig", "KILL", "--", *command]
    return [sys.executable, "-I", "-S", "-c", _LEASH, *command]


class Child:
    """A program that runs during its `with` block, with output to the file `log`.

    It has its own session, so that Ctrl-C on the terminal reaches only its parent. `environment` is
    its whole environment; None passes on that of this process. It starts in the folder `home`, or
    where its parent is.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        grace_seconds: float = 10.0,
        home: Path | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        self.environment = environment
        self.grace_seconds = grace_seconds
        self.home = home
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The pid of the current or last process; raise RuntimeError before `start`."""
        return self._process().pid

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Start or restart it: same command, same log."""
        if self.alive:
            raise RuntimeError(f"{self.command[0]} is already running.")
        with self.log.open("ab") as output:
            self._running = subprocess.Popen(
                with_parent_death_signal(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.home,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._process().send_signal(number)

    def kill(self) -> None:
        """Kill it with SIGKILL and wait until it has ended."""
        self._process().kill()
        self._process().wait()

    def stop(self) -> int:
        """Ask it to stop, kill it after `grace_seconds`, and return its exit code."""
        process = self._process()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # a frozen one could not react
        try:
            return process.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return process.wait()

    def said(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _process(self) -> subprocess.Popen[bytes]:
        if self._running is None:
            raise RuntimeError(f"{self.command[0]} was not started.")
        return self._running
