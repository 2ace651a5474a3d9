"""Row 10: seconds from `darkroom up` to the first image on disk, in an empty directory."""

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench.results import Goal, Line, Row, must_equal
from bench.run import Run
from sandbox.subprocesses import Child
from sandbox.wait import wait_until

NUMBER = 10
TITLE = "time from `darkroom up` to the first image on disk"
OURS = "Darkroom"


def measure(run: Run) -> Row:
    """Start the stack in an empty directory, a new one each time."""
    rounds = run.interleave({OURS: lambda: _measure(_new(run.directory))})
    line = Line(NUMBER, "to the first image", "s", rounds.of(OURS, "s"), Goal(5, 2.5, at_most=True))
    return Row(NUMBER, TITLE, [line], "the image is on disk")


def _new(directory: Path) -> Path:
    place = directory / f"up-{len(list(directory.iterdir()))}"
    place.mkdir()
    return place


def _measure(place: Path) -> Mapping[str, float]:
    program = str(Path(sys.executable).with_name("darkroom"))
    log = place / "log"
    began = time.perf_counter()
    with Child([program, "up", "--data", str(place / "data")], log, grace_seconds=30) as child:
        wait_until(lambda: _is_saved(log) or not child.alive, "an image", seconds=60)
        took = time.perf_counter() - began
    images = list((place / "data" / "images").iterdir())
    must_equal(len(images), 1, "images on disk")
    return {"s": took}


def _is_saved(log: Path) -> bool:
    return re.search(r" s  saved ", log.read_text(encoding="utf-8")) is not None
