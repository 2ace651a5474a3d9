"""The version of a release: `python -m deploy.version` prints it, `… 0.2.0` writes another.

`python -m deploy.version notes` prints what the changelog says of it. The version is that of the
service in `pyproject.toml`. Files that cannot read it there repeat it; a test compares them.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NUMBER = r"\d+\.\d+\.\d+"
_IMAGE = r"\bdarkroom:"
_PACKAGE = r"\bdarkroom[_-](?:client|service)-"
#: By file: what stands before each version of a release.
PLACES: Mapping[str, tuple[str, ...]] = {
    "pyproject.toml": (r'^version = "', r'"darkroom-client=='),
    "client/pyproject.toml": (r'^version = "',),
    "client-ts/package.json": (r'^  "version": "',),
    "client-ts/package-lock.json": (r'"name": "darkroom-client",\s+"version": "',),
    "uv.lock": (r'name = "darkroom-(?:client|service)"\nversion = "',),
    "docker-compose.yml": (_IMAGE,),
    "deploy/kubernetes/base/api.yaml": (_IMAGE,),
    "deploy/kubernetes/base/worker-deliver.yaml": (_IMAGE,),
    "deploy/kubernetes/base/worker-generate.yaml": (_IMAGE,),
    "deploy/kubernetes/overlays/sandbox/provider.yaml": (_IMAGE,),
    "deploy/kubernetes/overlays/production/kustomization.yaml": (r"\bnewTag: ",),
    "docs/operating.md": (_IMAGE,),
    "README.md": (_PACKAGE,),
    "client-ts/README.md": (_PACKAGE,),
}


class WrongVersion(Exception):
    """What was requested is not the version of a release."""


def version(root: Path = ROOT) -> str:
    """Return the version of this tree."""
    return next(number for name, number in versions(root) if name == "pyproject.toml")


def versions(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield each place's file and version; fail where one is missing."""
    for name, heads in PLACES.items():
        text = (root / name).read_text("utf-8")
        for head in heads:
            found = re.findall(f"{head}({_NUMBER})", text, re.MULTILINE)
            if not found:
                raise WrongVersion(f"{name} has no version after {head!r}.")
            yield from ((name, number) for number in found)


def write(number: str, root: Path = ROOT) -> None:
    """Write a version into every place. Raise WrongVersion."""
    if not re.fullmatch(_NUMBER, number):
        raise WrongVersion(f"{number!r} is not a version such as 1.2.3.")
    for name, heads in PLACES.items():
        text = (root / name).read_text("utf-8")
        for head in heads:
            text = re.sub(f"({head}){_NUMBER}", rf"\g<1>{number}", text, flags=re.MULTILINE)
        (root / name).write_text(text, "utf-8")


def notes(root: Path = ROOT) -> str:
    """Return the changelog's section of this version. Raise WrongVersion if it has no date yet."""
    number = version(root)
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    section = re.search(
        rf"^## {re.escape(number)} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if not section:
        raise WrongVersion(f"CHANGELOG.md has no heading `## {number} (YYYY-MM-DD)`.")
    return section[1].strip()


def main(arguments: list[str]) -> int:
    """Print the version or its notes, or write the version that is requested."""
    try:
        if arguments == ["notes"]:
            shown = notes()
        else:
            for number in arguments:
                write(number)
            shown = version()
    except WrongVersion as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 2
    sys.stdout.write(f"{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
