"""The system's Chromium: found, installed where that can be done, else asked for in words."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from shared.settings import inherited_environment

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Headless, in a container, and calling home to nobody.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)


def chromium() -> Path:
    """Find the browser, or install it by apt-get as root; fails where neither can be done."""
    if not _found():
        _install()
    found = _found()
    if found is None:
        pytest.fail("The browser tests need Chromium: apt-get install chromium", pytrace=False)
    return found


def _found() -> Path | None:
    return next((Path(path) for path in map(shutil.which, _NAMES) if path), None)


def _install() -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    with (Path(tempfile.gettempdir()) / "darkroom-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run at once
        for words in (("update",), ("install", "--yes", "--no-install-recommends", "chromium")):
            environment = {**inherited_environment(), "DEBIAN_FRONTEND": "noninteractive"}
            command = ("apt-get", "--quiet=2", *words)
            subprocess.run(command, check=False, capture_output=True, env=environment, timeout=200)
