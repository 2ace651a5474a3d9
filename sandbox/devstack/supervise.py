"""Supervise all processes of the stack: start, readiness, ordered stop."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from sandbox.devstack.console import Log, Screen
from sandbox.devstack.plan import STOPPING, Kind, ProcessSpec
from sandbox.devstack.process import CrashLoop, Keeper

#: The time limit for all processes to become ready, in seconds.
START_SECONDS = 60.0


class Supervisor:
    """Run the processes until asked to stop; for one event loop in the main thread.

    `on_change` is called each time a process becomes ready, the first time and after restarts.
    """

    def __init__(self, logs: Path, screen: Screen, on_change: Callable[[], None]) -> None:
        self.keepers: list[Keeper] = []
        self._logs = logs
        self._screen = screen
        self._on_change = on_change

    def start(self, parts: Iterable[ProcessSpec]) -> None:
        """Start all processes; they are restarted whenever they exit."""
        for part in parts:
            log = Log(
                self._logs / f"{part.name}.log", part.name, self._screen if part.loud else None
            )
            self.keepers.append(Keeper(part, log, self._screen, self._note_serving))

    async def wait_until_serving(self, *names: str) -> None:
        """Wait until all or the named processes are ready; raise CrashLoop if one never is."""
        chosen = [keeper for keeper in self.keepers if not names or keeper.part.name in names]
        serving = asyncio.create_task(_all_serving(chosen))
        failing = {keeper.supervision for keeper in self.keepers}
        try:
            await asyncio.wait(
                {serving, *failing}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            self._raise_failure()
            if not serving.done():
                raise CrashLoop(_late(chosen))
        finally:
            serving.cancel()

    async def failed(self) -> None:
        """Wait until a process is given up, and raise its CrashLoop."""
        await asyncio.wait(
            {keeper.supervision for keeper in self.keepers}, return_when=asyncio.FIRST_COMPLETED
        )
        self._raise_failure()

    async def stop(self) -> None:
        """Stop everything: clients before their servers, each kind together."""
        for kind in STOPPING:
            of_kind = [keeper for keeper in self.keepers if keeper.part.kind is kind]
            await asyncio.gather(*(keeper.stop() for keeper in of_kind))
        for keeper in self.keepers:
            keeper.log.close()

    def kill(self) -> None:
        """Kill everything at once."""
        for keeper in self.keepers:
            keeper.kill()

    def pids(self, kind: Kind) -> list[int]:
        """Return the pids of all processes of a kind, in the order of the plan."""
        return [keeper.pid for keeper in self.keepers if keeper.part.kind is kind]

    @property
    def complete(self) -> bool:
        """Whether all processes are ready."""
        return all(keeper.serving.is_set() for keeper in self.keepers)

    def _note_serving(self, _: Keeper) -> None:
        self._on_change()

    def _raise_failure(self) -> None:
        for keeper in self.keepers:
            if keeper.supervision.done():
                keeper.supervision.result()


async def _all_serving(keepers: Iterable[Keeper]) -> None:
    for keeper in keepers:
        await keeper.serving.wait()


def _late(keepers: Iterable[Keeper]) -> str:
    late = [keeper for keeper in keepers if not keeper.serving.is_set()]
    lines = "\n".join(
        f"    {keeper.part.name}: {line}" for keeper in late for line in keeper.log.last
    )
    names = ", ".join(keeper.part.name for keeper in late)
    return f"{names} did not become ready within {START_SECONDS:g} s. The last lines:\n{lines}"
