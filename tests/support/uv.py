"""uv, as `make setup` installs it: builds the distributions and environments for them."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from shared.settings import inherited_environment
from tests.deploy.compose import ROOT

_UV = ROOT / ".uv" / "bin" / "uv"
#: Variables that would lead uv to the environment of the checkout.
_OF_THE_CHECKOUT = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH")


def environment() -> dict[str, str]:
    """Return this process's environment without what points into the checkout or to a service."""
    known = inherited_environment().items()
    return {
        name: value
        for name, value in known
        if name not in _OF_THE_CHECKOUT and not name.startswith("DARKROOM_")
    }


def run(*arguments: object) -> None:
    """Run uv in the checkout."""
    execute(_UV, *arguments, home=ROOT)


def build(folder: Path) -> None:
    """Build the wheel and the sdist of the service and of the client into `folder`."""
    run("build", "--quiet", "--all-packages", "--out-dir", folder)


def lock_as_constraints(file: Path) -> None:
    """Write the versions of the lock file as constraints."""
    flags = ("--all-packages", "--all-extras", "--no-dev", "--no-emit-workspace", "--no-hashes")
    run("export", "--quiet", "--locked", *flags, "--output-file", file)


class Venv:
    """A virtual environment in a folder, with nothing of the checkout."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        run("venv", "--quiet", "--python", sys.executable, folder)

    def install(self, *requirements: object) -> None:
        """Install requirements, compiled as pip does it."""
        flags = ("--quiet", "--compile-bytecode", "--python", self.bin / "python")
        run("pip", "install", *flags, *requirements)

    def run(self, *words: object, home: Path, told: Mapping[str, str] | None = None) -> str:
        """Run a program of it in a folder; return what it printed."""
        program, *arguments = words
        return execute(self.bin / str(program), *arguments, home=home, told=told)


def execute(*command: object, home: Path, told: Mapping[str, str] | None = None) -> str:
    """Run a command outside the checkout's environment; return what it printed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=home,
        env={**environment(), **(told or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
