"""A process in a network namespace that has only loopback, and ports that lead out of it.

`ways_out({port: target})` listens outside, on a Unix socket for each port; `command` begins a
command that starts another inside, where 127.0.0.1:port then leads to the port `target` outside.
A network namespace separates ports, and not the sockets of the file system.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def command(directory: Path, ports: Sequence[int]) -> list[str]:
    """Begin a command that runs in a namespace of its own; skip where that is not allowed."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    itself = [sys.executable, "-m", "tests.support.isolated", str(directory)]
    return [*_namespace(), *itself, *map(str, ports), "--"]


@contextmanager
def ways_out(directory: Path, targets: Mapping[int, int]) -> Iterator[None]:
    """Lead each port of the namespace to a port of this machine, by a socket in `directory`."""
    started, ended = threading.Event(), threading.Event()

    async def lead() -> None:
        for port, target in targets.items():
            await _serve_outside(directory / str(port), target)
        started.set()
        await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(lead(),))
    thread.start()
    try:
        assert started.wait(10)
        yield
    finally:
        ended.set()
        thread.join()


def _namespace() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--net", "--"]


def _why_not() -> str:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return "there is no `unshare` or no `ip` here: apt-get install util-linux iproute2"
    tried = subprocess.run(
        [*_namespace(), "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no network namespace is allowed here: {tried.stderr.strip()}" * bool(tried.returncode)


async def _serve_outside(path: Path, target: int) -> asyncio.Server:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, *await asyncio.open_connection("127.0.0.1", target))

    return await asyncio.start_unix_server(lead, path)


async def _serve_inside(path: Path, port: int) -> asyncio.Server:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, *await asyncio.open_unix_connection(path))

    return await asyncio.start_server(lead, "127.0.0.1", port)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other_writer: asyncio.StreamWriter,
) -> None:
    await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _run(directory: Path, ports: Sequence[int], inner: Sequence[str]) -> int:
    servers = [await _serve_inside(directory / str(port), port) for port in ports]
    process = await asyncio.create_subprocess_exec(*inner)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.send_signal, number)
    code = await process.wait()
    for server in servers:
        server.close()
    return code


if __name__ == "__main__":
    subprocess.run([shutil.which("ip") or "ip", "link", "set", "lo", "up"], check=True)
    end = sys.argv.index("--")
    sys.exit(
        asyncio.run(_run(Path(sys.argv[1]), list(map(int, sys.argv[2:end])), sys.argv[end + 1 :]))
    )
