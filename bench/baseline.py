"""The bare sequence, run beside a service: the cost of an image without any queue."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.client import INPUT
from bench.peer_environments import PEERS, PROGRAMS, peer
from bench.peer_services import settings_of
from bench.service import Service


@dataclass(frozen=True, slots=True)
class Bare:
    """The cost of one image: mean CPU seconds and median seconds."""

    cpu_seconds: float
    seconds: float


def bare(directory: Path, beside: Service, count: int, **changes: object) -> Bare:
    """Make `count` images, one after the other, with the provider and storage of `beside`."""
    asked = json.dumps({"input": {**INPUT, **changes}})
    with peer(directory, **settings_of(beside)) as running:
        command = [str(PEERS / "bin" / "python"), str(PROGRAMS / "bare.py"), str(count)]
        done = subprocess.run(
            command,
            input=asked,
            env=dict(running.environment),
            capture_output=True,
            text=True,
            check=True,
        )
    found: Mapping[str, Any] = json.loads(done.stdout)
    return Bare(found["cpu"] / count, median(found["seconds"]))
