"""Prometheus' own programs: from PATH, else fetched from Debian's package into .tools."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

_TOOLS = ROOT / ".tools"


def program(name: str) -> Path:
    """Find `promtool` or `prometheus`; skips where there is none and none can be fetched."""
    on_path = shutil.which(name)
    fetched = _TOOLS / "usr" / "bin" / name
    if on_path:
        return Path(on_path)
    if not fetched.exists():
        _fetch()
    if not fetched.exists():
        pytest.skip(f"{name} is not here: apt-get install prometheus")
    return fetched


def _fetch() -> None:
    """Unpack Debian's package: that needs no root and starts no server."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    _TOOLS.mkdir(exist_ok=True)
    with (_TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run at once
        if _is_there() or _unpacked():
            return
        if os.geteuid() == 0:  # a fresh container has no lists of packages
            _run("apt-get", "update", "--quiet=2")
            _unpacked()


def _unpacked() -> bool:
    _run("apt-get", "download", "--quiet=2", "prometheus")
    for package in _TOOLS.glob("prometheus_*.deb"):
        _run("dpkg-deb", "-x", package.name, ".")
        package.unlink()
    return _is_there()


def _is_there() -> bool:
    return (_TOOLS / "usr" / "bin" / "prometheus").exists()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=_TOOLS, check=False, capture_output=True, timeout=120)
