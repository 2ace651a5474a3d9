"""`darkroom up` as tests run it: a real stack in a directory of its own."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.settings import inherited_environment

DARKROOM = Path(sys.executable).with_name("darkroom")
START_SECONDS = 60


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in inherited_environment().items() if not k.startswith("DARKROOM_")}


class Up:
    """A stack that runs in a directory."""

    def __init__(self, data: Path, child: Child) -> None:
        self.data = data
        self.child = child

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
        return state

    @property
    def pids(self) -> list[int]:
        return [pid for pids in self.state["pids"].values() for pid in as_list(pids)]

    @property
    def ready(self) -> bool:
        assert self.child.alive, self.child.said(60)
        return (self.data / "stack.json").exists()


def as_list(pids: int | list[int]) -> list[int]:
    return pids if isinstance(pids, list) else [pids]


def gone(pids: list[int]) -> bool:
    return not any(map(lives, pids))


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # where nobody reaps orphans
    except psutil.NoSuchProcess:
        return False


@contextmanager
def up(
    data: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = (str(DARKROOM), "up"),
    home: Path | None = None,
) -> Iterator[Up]:
    # two stacks that start at once would both find the usual port free
    port = () if "--port" in arguments else ("--port", str(free_port()))
    command = [*program, "--data", str(data), *port, *arguments]
    log = data.with_name(f"{data.name}.out")
    told = {**clean_environment(), **(environment or {})}
    with Child(command, log, environment=told, grace_seconds=30, home=home) as child:
        stack = Up(data, child)
        wait_until(lambda: stack.ready, "stack.json", seconds=START_SECONDS)
        yield stack
