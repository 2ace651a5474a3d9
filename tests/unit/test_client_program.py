"""The start of the `darkroom` program."""

import subprocess
import sys

import pytest

_LOADED = """
import sys
from darkroom.cli import build
program = build(*sys.argv[1:])
packages = {name.partition(".")[0] for name in sys.modules}
print("tenants" in program, not packages.isdisjoint({"cli", "shared"}))
"""


@pytest.mark.parametrize(
    ("arguments", "is_loaded"),
    [(["generate"], False), (["tenants"], True), (["--help"], True), ([], True)],
)
def test_the_service_is_imported_only_for_its_commands_and_for_help(
    arguments: list[str], *, is_loaded: bool
) -> None:
    command = [sys.executable, "-c", _LOADED, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == [str(is_loaded)] * 2
