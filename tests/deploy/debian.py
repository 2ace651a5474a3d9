"""Programs and libraries of Debian: from PATH, else unpacked into .tools, which needs no root."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

_TOOLS = ROOT / ".tools"


def program(name: str, package: str) -> Path:
    """Find a program; skips where there is none and its package cannot be fetched."""
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    found = _fetched(name, package)
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return found


def library(name: str, package: str) -> Path:
    """Find a shared library; skips where its package cannot be fetched."""
    found = _fetched(name, package)
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return found


def _unpacked(name: str) -> Path | None:
    places = (_TOOLS / "usr" / folder / name for folder in ("bin", "sbin"))
    found = next((place for place in places if place.exists()), None)
    return found or next((_TOOLS / "usr" / "lib").rglob(name), None)


def _fetched(name: str, package: str) -> Path | None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    _TOOLS.mkdir(exist_ok=True)
    with (_TOOLS / "lock").open("w") as lock:
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
    for file in _TOOLS.glob(f"{package}_*.deb"):
        _run("dpkg-deb", "-x", file.name, ".")
        file.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=_TOOLS, check=False, capture_output=True, timeout=120)
