"""Supervise one process: start it, watch it, restart it when it exits, stop it."""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from sandbox.devstack.console import Log, Screen
from sandbox.devstack.plan import ProcessSpec, ReadinessProbe
from sandbox.servers import is_free
from sandbox.subprocesses import with_parent_death_signal
from sandbox.wait import PAUSE_SECONDS, answers_http, answers_ping
from shared.errors import DarkroomError

#: Delays before a restart, in seconds: doubled with each consecutive exit.
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
#: Exits before it was ever ready, after which it is given up.
EXITS_MOST = 5
#: After this long in service, it is restarted at once.
STEADY_SECONDS = 3.0
_PIECE_BYTES = 65536


class CrashLoop(DarkroomError):
    """A process never became ready; the text has its last lines."""


class PortLost(DarkroomError):
    """Another program took the port of a process before it could listen."""


class Keeper:
    """Supervise one process, on an event loop in the main thread.

    `serving` is set while the process is ready. `on_serving` is called each time it becomes ready.
    """

    def __init__(
        self, part: ProcessSpec, log: Log, screen: Screen, on_serving: Callable[["Keeper"], None]
    ) -> None:
        self.part = part
        self.log = log
        self.serving = asyncio.Event()
        self._screen = screen
        self._on_serving = on_serving
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._served_at: float | None = None
        self._exits = 0
        #: Ends after `stop`, or with CrashLoop if the process never becomes ready.
        self.supervision = asyncio.create_task(self._supervise(), name=part.name)

    @property
    def pid(self) -> int:
        """The pid of the current or last process; 0 before the first."""
        return self._process.pid if self._process else 0

    async def stop(self) -> None:
        """Ask the process to stop, and kill it after its grace period."""
        self._stopping.set()
        # A frozen one could not react.
        self._send(signal.SIGTERM, signal.SIGCONT)
        await asyncio.wait({self.supervision}, timeout=self.part.grace_seconds)
        if not self.supervision.done():
            message = f"did not end within {self.part.grace_seconds:g} s: killed"
            self._screen.log(message, level="warning", name=self.part.name)
            self.kill()
            await asyncio.wait({self.supervision})

    def kill(self) -> None:
        """Kill the process at once, without a restart."""
        self._stopping.set()
        self._send(signal.SIGKILL)

    def _send(self, *signals: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            for number in signals:
                self._process.send_signal(number)

    async def _supervise(self) -> None:
        while not self._stopping.is_set():
            try:
                process = await self._start()
            except DarkroomError as reason:
                if self._served_at is None:
                    raise
                await self._back_off(f"cannot start: {reason}")
                continue
            if self._stopping.is_set():  # by a `stop` that found no process yet
                self._send(signal.SIGTERM)
            code = await self._attend(process)
            if not self._stopping.is_set():
                await self._back_off(_ended(code))

    async def _start(self) -> Process:
        more = await asyncio.to_thread(self.part.at_start)
        self._process = await asyncio.create_subprocess_exec(
            *with_parent_death_signal(self.part.command),
            *more,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=dict(self.part.environment),
            # Ctrl-C on the terminal is for the stack alone, which stops its processes in order.
            start_new_session=True,
        )
        return self._process

    async def _attend(self, process: Process) -> int:
        """Read the output of the process and check its readiness; return its exit code."""
        reading = asyncio.create_task(self._read(process))
        looking = asyncio.create_task(self._check())
        code = await process.wait()
        looking.cancel()
        self.serving.clear()
        # A child of it may keep its pipe open: what is in it now is enough.
        await asyncio.wait({reading}, timeout=1)
        reading.cancel()
        return code

    async def _read(self, process: Process) -> None:
        while process.stdout and (piece := await process.stdout.read(_PIECE_BYTES)):
            self.log.add(piece)
        self.log.end()

    async def _check(self) -> None:
        while not await asyncio.to_thread(serves, self.part.ready, self.pid):  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(PAUSE_SECONDS)
        self._served_at = asyncio.get_running_loop().time()
        self.serving.set()
        self._on_serving(self)

    async def _back_off(self, how: str) -> None:
        wait = self._count_exit()
        if self._served_at is None:
            self._raise_lost_port()
            if self._exits >= EXITS_MOST:
                raise CrashLoop(self._crash_message(how))
        message = f"{how}; starts again in {wait:g} s"
        self._screen.log(message, level="warning", name=self.part.name)
        for line in () if self.part.loud else tuple(self.log.last):
            self._screen.pass_on(self.part.name, line)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait)

    def _count_exit(self) -> float:
        """Count one more exit, and return the seconds to wait before the next start."""
        now = asyncio.get_running_loop().time()
        if self._served_at is not None and now - self._served_at > STEADY_SECONDS:
            self._exits = 0
        self._exits += 1
        return min(FIRST_WAIT_SECONDS * 2.0 ** (self._exits - 1), LONGEST_WAIT_SECONDS)

    def _raise_lost_port(self) -> None:
        """Raise PortLost if another program listens: no further start would succeed."""
        port = urlsplit(self.part.ready.url).port or 0
        if not is_free(port):
            raise PortLost(
                f"Port {port} was taken by another program before {self.part.name} could listen "
                "on it."
            )

    def _crash_message(self, how: str) -> str:
        lines = "\n".join(f"    {line}" for line in self.log.last)
        return (
            f"{self.part.name} does not start: it exited {self._exits} times, and last it "
            f"{how}. Its last lines:\n{lines}"
        )


def _ended(code: int) -> str:
    if code < 0:
        return f"was killed by signal {-code}"
    return f"ended with code {code}"


def serves(sign: ReadinessProbe, pid: int) -> bool:
    """Check once whether the process `pid`, and no other on its port, is ready."""
    parts = urlsplit(sign.url)
    port = parts.port or 0
    answers = answers_ping(port) if parts.scheme == "redis" else answers_http(sign.url, sign.status)
    return answers and _listens(pid, port)


def _listens(pid: int, port: int) -> bool:
    import psutil  # noqa: PLC0415  only once something responds

    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
