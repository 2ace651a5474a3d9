"""Programs and libraries of Debian: from PATH, else unpacked into .tools, which needs no root."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

TOOLS = ROOT / ".tools"


def found(name: str, package: str) -> Path | None:
    """Return a program or file; None where there is none and its package cannot be fetched."""
    on_path = shutil.which(name)
    return Path(on_path) if on_path else _fetched(name, package)


def program(name: str, package: str) -> Path:
    """Return a program; skip where there is none and its package cannot be fetched."""
    there = found(name, package)
    if there is None:
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return there


def library(name: str, package: str) -> Path:
    """Find a shared library; skips where its package cannot be fetched."""
    there = _fetched(name, package)
    if there is None:
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return there


def _unpacked(name: str) -> Path | None:
    places = (TOOLS / "usr" / folder / name for folder in ("bin", "sbin"))
    there = next((place for place in places if place.exists()), None)
    return there or next((TOOLS / "usr").rglob(name), None)


def _fetched(name: str, package: str) -> Path | None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        # test processes run at once: what is there may still be written by another
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _unpacked(name) is None:
            _unpack(package)
        if _unpacked(name) is None and os.geteuid() == 0:
            _run("apt-get", "update", "--quiet=2")  # a fresh container has no lists of packages
            _unpack(package)
        return _unpacked(name)


def _unpack(package: str) -> None:
    _run("apt-get", "download", "--quiet=2", package)
    for file in TOOLS.glob(f"{package}_*.deb"):
        _run("dpkg-deb", "-x", file.name, ".")
        file.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=TOOLS, check=False, capture_output=True, timeout=120)
