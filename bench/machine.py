"""The machine and the versions to which the figures belong."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil

from bench import allocator
from bench.peer_environments import ARQ, PEERS
from sandbox.servers import s3_program, valkey_program

_OURS = ("celery", "fastapi", "httpx", "minio", "redis", "uvicorn")
_PEERS = {PEERS: ("celery", "gevent", "redis", "taskiq", "taskiq-redis"), ARQ: ("arq", "redis")}


def describe() -> Mapping[str, str]:
    """Return processor, memory, system and the versions of all participants."""
    ours = ", ".join(f"{name} {version(name)}" for name in _OURS)
    return {
        "processor": f"{os.cpu_count()} of {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load": f"{os.getloadavg()[0]:.1f} when it began",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "servers": (
            f"{_said(valkey_program(), '--version')} with {allocator.name()}; "
            f"{_said(s3_program(), 'version')}"
        ),
        "Darkroom": f"{version('darkroom-service')} with {ours}",
        "peers": "; ".join(_versions(place, names) for place, names in _PEERS.items()),
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _said(program: Path, *words: str) -> str:
    told = subprocess.run([program, *words], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[0].partition(" malloc")[0]


def _versions(place: Path, names: tuple[str, ...]) -> str:
    script = (
        "import importlib.metadata as found; "
        f"print(*(name + ' ' + found.version(name) for name in {names!r}), sep=', ')"
    )
    told = subprocess.run(
        [place / "bin" / "python", "-c", script], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()
