"""Parts are kept running, and stopped in order, whatever happens to them."""

import asyncio
import io
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sandbox.devstack.console import Screen
from sandbox.devstack.plan import Kind, ProcessSpec, ReadinessProbe
from sandbox.devstack.process import CrashLoop, PortLost
from sandbox.devstack.supervise import Supervisor
from sandbox.servers import free_port
from sandbox.wait import wait_until
from shared.errors import DarkroomError

#: Says its last words into `order` when it is told to end, so that the order can be read.
SERVER = """
import os, signal, sys, time
from http.server import HTTPServer, SimpleHTTPRequestHandler
port, name, order = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def end(*_):
    open(order, "a").write(name + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("begins", flush=True)
"""
SERVES = "HTTPServer(('127.0.0.1', port), SimpleHTTPRequestHandler).serve_forever()"


def part(
    folder: Path, name: str, kind: Kind, *, code: str = SERVES, grace: float = 5
) -> ProcessSpec:
    port = free_port()
    arguments = (str(port), name, str(folder / "order"))
    return ProcessSpec(
        name=name,
        kind=kind,
        command=(sys.executable, "-c", SERVER + code, *arguments),
        ready=ReadinessProbe(f"http://127.0.0.1:{port}/", 200),
        grace_seconds=grace,
    )


class Output:
    """What a supervisor said and how often something changed."""

    def __init__(self, folder: Path) -> None:
        self.stream = io.StringIO()
        self.changes = 0
        screen = Screen(console=True, stream=self.stream)
        self.supervisor = Supervisor(folder, screen, self._note)

    def _note(self) -> None:
        self.changes += 1


async def until(fact: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, fact, what, seconds=20)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def test_a_port_that_was_taken_before_its_process_listened_is_named_at_once(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        one = Output(tmp_path).supervisor
        late = part(tmp_path, "s3", Kind.S3)
        port = int(late.ready.url.rsplit(":", 1)[1].strip("/"))
        with socket.create_server(("127.0.0.1", port)):
            one.start([late])
            with pytest.raises(PortLost, match=f"Port {port} was taken .* before s3 could"):
                await one.wait_until_serving()
            await one.stop()

    asyncio.run(story())


def test_a_process_that_cannot_be_prepared_again_is_tried_until_it_can(tmp_path: Path) -> None:
    context = tmp_path / "room"

    def prepare() -> list[str]:
        if not context.exists():
            raise DarkroomError("there is no room")
        return []

    async def story() -> None:
        told = Output(tmp_path)
        one = told.supervisor
        context.touch()
        one.start([replace(part(tmp_path, "redis", Kind.REDIS), at_start=prepare)])
        await one.wait_until_serving()
        context.unlink()
        os.kill(one.pids(Kind.REDIS)[0], signal.SIGKILL)
        meant = "cannot start: there is no room; starts again in"
        await until(lambda: meant in told.stream.getvalue(), "a try in vain")
        context.touch()
        await until(lambda: one.complete, "another process")
        await one.stop()

    asyncio.run(story())


def test_a_process_that_cannot_be_prepared_the_first_time_is_not_tried_again(
    tmp_path: Path,
) -> None:
    def prepare() -> list[str]:
        raise DarkroomError("its data are damaged")

    async def story() -> None:
        one = Output(tmp_path).supervisor
        one.start([replace(part(tmp_path, "redis", Kind.REDIS), at_start=prepare)])
        with pytest.raises(DarkroomError, match="its data are damaged"):
            await one.wait_until_serving()
        await one.stop()

    asyncio.run(story())


def test_a_killed_process_is_replaced_on_the_same_port(tmp_path: Path) -> None:
    async def story() -> None:
        told = Output(tmp_path)
        one = told.supervisor
        one.start([part(tmp_path, "api", Kind.API), part(tmp_path, "redis", Kind.REDIS)])
        await one.wait_until_serving()
        [first], [other] = one.pids(Kind.API), one.pids(Kind.REDIS)
        os.kill(first, signal.SIGKILL)
        await until(lambda: one.pids(Kind.API) != [first] and one.complete, "another process")
        assert told.changes == 3
        assert one.pids(Kind.REDIS) == [other]
        assert "api         was killed by signal 9; starts again in 0.1 s" in told.stream.getvalue()
        await one.stop()

    asyncio.run(story())


def test_whoever_asks_ends_before_whoever_answers(tmp_path: Path) -> None:
    async def story() -> None:
        one = Output(tmp_path).supervisor
        kinds = (Kind.REDIS, Kind.PROVIDER, Kind.WORKER, Kind.API, Kind.S3)
        one.start([part(tmp_path, kind.value, kind) for kind in kinds])
        await one.wait_until_serving()
        pids = [keeper.pid for keeper in one.keepers]
        await one.stop()
        assert all(map(gone, pids))

    asyncio.run(story())
    order = (tmp_path / "order").read_text().split()
    assert order == ["api", "worker", "provider", "s3", "redis"]


def test_a_process_that_does_not_obey_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES

    async def story() -> None:
        told = Output(tmp_path)
        one = told.supervisor
        one.start([part(tmp_path, "worker", Kind.WORKER, code=deaf, grace=0.2)])
        await one.wait_until_serving()
        [pid] = one.pids(Kind.WORKER)
        await one.stop()
        assert gone(pid)
        assert "did not end within 0.2 s: killed" in told.stream.getvalue()

    asyncio.run(story())


def test_a_process_that_never_serves_is_given_up_with_its_last_lines(tmp_path: Path) -> None:
    broken = "sys.exit('DARKROOM_X is not usable.')"

    async def story() -> None:
        one = Output(tmp_path).supervisor
        one.start([part(tmp_path, "api", Kind.API, code=broken)])
        with pytest.raises(CrashLoop, match=r"exited 5 times(.|\n)*DARKROOM_X is not usable"):
            await one.wait_until_serving()
        await one.stop()

    asyncio.run(story())
    assert (tmp_path / "api.log").read_text().count("begins") == 5


def test_stopping_while_everything_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        one = Output(tmp_path).supervisor
        one.start([part(tmp_path, name, Kind.API) for name in ("a", "b", "c")])
        await asyncio.sleep(0)  # the keepers have begun, their processes have not
        await one.stop()
        assert all(gone(keeper.pid) for keeper in one.keepers)

    asyncio.run(story())


def test_killing_takes_everything_at_once(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES

    async def story() -> None:
        one = Output(tmp_path).supervisor
        one.start([part(tmp_path, "worker", Kind.WORKER, code=deaf, grace=60)])
        await one.wait_until_serving()
        stopping = asyncio.create_task(one.stop())
        one.kill()
        await asyncio.wait_for(stopping, 10)
        assert gone(one.pids(Kind.WORKER)[0])

    asyncio.run(story())
