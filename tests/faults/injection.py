"""Ways to take a server of the stack away: killed and kept away, frozen, replaced by another.

Whoever keeps the stack would start what is killed again at once; while it is frozen itself, it does
not, and the port is free for whatever the test puts there.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from sandbox.servers import free_port, is_free, s3_command, s3_environment
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_for_redis, wait_until
from tests.e2e.up import as_list
from tests.faults.service import Service
from tests.support.background import in_background, in_service
from tests.support.lying_storage import Liar, lying_before
from tests.support.servers import S3Server

#: How a slow server spends its time.
WORKS_SECONDS, RESTS_SECONDS = 0.1, 0.2


def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # its parent was not quite frozen yet
        return True


@contextmanager
def absent(here: Service, name: str) -> Iterator[int]:
    """Kill a server (`redis` or `s3`) and keep it away; it serves again when the block is over."""
    port, keeper = port_of(here, name), here.up.child.pid
    os.kill(keeper, signal.SIGSTOP)
    try:
        pid = pid_of(here, name)
        os.kill(pid, signal.SIGKILL)
        # its parent cannot bury it now
        wait_until(lambda: _has_ended(pid), f"{name} to end")
        # its threads may end later than it seems to have itself
        wait_until(lambda: is_free(port), f"the port of {name}")
        yield port
    finally:
        os.kill(keeper, signal.SIGCONT)
    wait_for_return(here, name)


@contextmanager
def frozen(here: Service, name: str) -> Iterator[None]:
    """Freeze a server until the block ends."""
    pid = pid_of(here, name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def black_hole(here: Service, name: str) -> Iterator[None]:
    """Put in the place of a server one that takes every connection and never says a word."""
    with absent(here, name) as port, socket.create_server(("127.0.0.1", port)) as hole:
        taken: list[socket.socket] = []
        thread = threading.Thread(target=_take, args=(hole, taken), daemon=True)
        thread.start()
        try:
            yield
        finally:
            hole.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for one in taken:
                one.close()


class _Unavailable(BaseHTTPRequestHandler):
    """Says what a storage says that is asked too much."""

    # HTTP/1.0: no connection outlives the answer, and so the harm
    said = b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(503)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(self.said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.said)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT  # noqa: N815  their names are the base's

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def unavailable(here: Service) -> Iterator[None]:
    """Let a storage that answers 503 to everything take the place of ours."""
    with (
        absent(here, "s3") as port,
        ThreadingHTTPServer(("127.0.0.1", port), _Unavailable) as server,
        in_service(server),
    ):
        yield


def slow(here: Service, name: str) -> AbstractContextManager[None]:
    """Let a server work a third of the time only."""
    pid = pid_of(here, name)

    def hold_up(over: threading.Event) -> None:
        while not over.wait(WORKS_SECONDS):
            os.kill(pid, signal.SIGSTOP)
            over.wait(RESTS_SECONDS)
            os.kill(pid, signal.SIGCONT)

    return in_background(hold_up)


def _take(hole: socket.socket, taken: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            taken.append(hole.accept()[0])


@contextmanager
def other_keys(here: Service) -> Iterator[None]:
    """Let the storage know no keys but others than ours."""
    with _stranger(here, here.data / "s3", "a-stranger-s-key", "a-stranger-s-secret"):
        yield


@contextmanager
def bucket_missing(here: Service) -> Iterator[None]:
    """Let the storage know our keys, and no bucket."""
    s3 = here.state["s3"]
    empty = here.data / "empty"
    empty.mkdir()
    with _stranger(here, empty, s3["access_key"], s3["secret_key"]):
        yield


@contextmanager
def lying(here: Service) -> Iterator[Liar]:
    """Put a liar between the service and its storage, which goes on with the same data."""
    s3 = here.state["s3"]
    keys = (s3["access_key"], s3["secret_key"])
    with (
        absent(here, "s3") as port,
        _served(here, here.data / "s3", free_port(), *keys) as real,
        lying_before(S3Server(real.child, real.port, *keys, s3["bucket"]), port=port) as liar,
    ):
        yield liar


@contextmanager
def _stranger(here: Service, directory: Path, *keys: str) -> Iterator[None]:
    with absent(here, "s3") as port, _served(here, directory, port, *keys):
        yield


@contextmanager
def _served(here: Service, directory: Path, port: int, *keys: str) -> Iterator[S3Server]:
    child = Child(
        s3_command(directory, port), here.data / "stranger", environment=s3_environment(*keys)
    )
    with child:
        wait_for_http(f"http://127.0.0.1:{port}/")
        yield S3Server(child, port)


def pid_of(here: Service, name: str) -> int:
    """Return the process of a server, as the stack wrote it down when it last came up."""
    return as_list(here.up.state["pids"][name])[0]


def port_of(here: Service, name: str) -> int:
    urls = {"redis": here.state["redis_url"], "s3": f"http://{here.state['s3']['endpoint']}"}
    return urlsplit(str(urls[name])).port or 0


def wait_for_return(here: Service, name: str) -> None:
    if name == "redis":
        wait_for_redis(port_of(here, name))
    else:
        wait_for_http(f"http://127.0.0.1:{port_of(here, name)}/")


def for_seconds(seconds: float, act: Callable[[], object]) -> None:
    """Do something again and again for so long, and at least once."""
    ends = time.monotonic() + seconds

    def is_over() -> bool:
        act()
        return time.monotonic() > ends

    wait_until(is_over, "the time to be over", seconds=seconds + 60)


class Refusals:
    """What the API says while it cannot accept: how many times, and the slowest answer."""

    def __init__(self, here: Service) -> None:
        """Take the service to ask."""
        self._here = here
        self.count = 0
        self.slowest = self.slowest_health = 0.0

    def ask(self) -> httpx.Response:
        """Ask for a job, which must be refused, and whether the API lives."""
        answer = self._here.http.post("/v1/jobs", json=self._here.body())
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        health = self._here.http.get("/healthz")
        assert health.status_code == 200
        self.count += 1
        self.slowest = max(self.slowest, answer.elapsed.total_seconds())
        self.slowest_health = max(self.slowest_health, health.elapsed.total_seconds())
        return answer
