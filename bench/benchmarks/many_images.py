"""Row 12: a folder of 1,000 images from a CSV, by the command line and by a script."""

import csv
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from PIL import Image

from bench.client import INPUT
from bench.peer_environments import PEERS, PROGRAMS
from bench.results import Goal, Line, Row, must_equal
from bench.run import Run
from bench.service import Provider, Service, provider_of, service
from sandbox.devstack.plan import Kind
from shared.settings import inherited_environment

NUMBER = 12
TITLE = "1,000 images of a CSV, from the command to the last file, 16 at once at 300 ms each"
IMAGES = 1_000
AT_ONCE = 16
LATENCY_SECONDS = 0.3
OURS, SCRIPT = "Darkroom", "a script with a thread pool"
_FOLDERS = count()
#: Runs a command that writes its files to a folder.
Fill = Callable[[Path], object]


def measure(run: Run) -> Row:
    """Fill a new folder each time, by the `darkroom` program and by the peer's script."""
    with ExitStack() as stack:
        names = ("api", "generate-1", "provider")
        ours = stack.enter_context(service(run.directory / "ours", *names, concurrency=AT_ONCE))
        provider = provider_of(ours)
        stack.callback(provider.close)
        table = _write_table(run.directory)
        script = partial(_script, ours, table)
        provider.behave(0)
        script(run.directory / "warm")  # the sandbox renders each image once
        provider.behave(LATENCY_SECONDS)
        service_cpu = partial(ours.cpu, Kind.API, Kind.WORKER, Kind.REDIS)
        rounds = run.interleave(
            {
                OURS: partial(
                    _measure, run.directory, partial(_ours, ours, table), provider, service_cpu
                ),
                SCRIPT: partial(_measure, run.directory, script, provider, lambda: 0.0),
            }
        )
    lines = [
        Line(NUMBER, what, "s", rounds.of(OURS, figure), goal, SCRIPT, rounds.of(SCRIPT, figure))
        for what, figure, goal in (
            ("until the last file", "s", Goal(1.15, 1.05, at_most=True)),
            ("CPU, all processes", "CPU s", None),
            ("CPU, the command", "command's CPU s", None),
        )
    ]
    checked = "1,000 files that decode, and 1,000 paid calls"
    return Row(NUMBER, TITLE, lines, checked)


def _write_table(directory: Path) -> Path:
    table = directory / "prompts.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, INPUT)
        writer.writeheader()
        writer.writerows({**INPUT, "seed": number} for number in range(IMAGES))
    return table


def _ours(running: Service, table: Path, folder: Path) -> None:
    program = str(Path(sys.executable).with_name("darkroom"))
    found = {"DARKROOM_URL": running.url, "DARKROOM_API_KEY": running.api_key}
    _run([program, "generate", "--from", str(table), "--out", str(folder)], found)


def _script(beside: Service, table: Path, folder: Path) -> None:
    command = [str(PEERS / "bin" / "python"), str(PROGRAMS / "many_images.py")]
    _run([*command, str(table), str(folder)], {"PROVIDER_URL": beside.plan.provider_url})


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    path = inherited_environment().get("PATH", "")
    done = subprocess.run(
        command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}:\n{done.stderr[-2000:]}")


def _measure(
    directory: Path, fill: Fill, provider: Provider, service_cpu: Callable[[], float]
) -> Mapping[str, float]:
    folder = directory / f"images-{next(_FOLDERS)}"
    provider.delete_records()
    cpu, command_cpu, began = service_cpu(), _cpu_of_commands(), time.time()
    fill(folder)
    command_cpu = _cpu_of_commands() - command_cpu
    cpu = service_cpu() - cpu + command_cpu
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    last = max(file.stat().st_mtime for file in files)
    must_equal(len(files), IMAGES, "files")
    must_equal(sum(call["paid"] for call in provider.calls("generate")), IMAGES, "paid calls")
    for file in files:
        with Image.open(file) as image:
            image.load()  # raises for a damaged file
    return {"s": last - began, "CPU s": cpu, "command's CPU s": command_cpu}


def _cpu_of_commands() -> float:
    """Return the CPU seconds of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
