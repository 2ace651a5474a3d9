"""Write what the image and the wheels contain: `python -m deploy.sbom FILE`.

The packages of the lock file that a running service needs, as CycloneDX 1.5 by uv, with the licence
that each package installed here states.
"""

import json
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from subprocess import run
from typing import Any

ROOT = Path(__file__).parents[1]
_UV = ROOT / ".uv" / "bin" / "uv"
_EXPORT = ("export", "--quiet", "--locked", "--no-dev", "--extra", "tracing")
_FORMAT = ("--format", "cyclonedx1.5", "--preview-features", "sbom-export")
#: Classifiers that name a family of licences, not one.
_FAMILY = "OSI Approved"


def sbom() -> dict[str, Any]:
    """Return the document."""
    written = run([_UV, *_EXPORT, *_FORMAT], cwd=ROOT, check=True, capture_output=True).stdout  # noqa: S603
    document: dict[str, Any] = json.loads(written)
    for component in document["components"]:
        try:
            stated = metadata(component["name"]).json
        except PackageNotFoundError:  # other systems or Pythons need it
            continue
        component["licenses"] = [{"license": {"name": licence(stated)}}]
    return document


def licence(stated: dict[str, Any]) -> str:
    """Return the licence in the metadata of a package (`Message` as JSON); "" if it states none."""
    if expression := stated.get("license_expression"):
        return str(expression)
    classified = (line.split(" :: ") for line in stated.get("classifier", ()))
    names = [parts[-1] for parts in classified if parts[0] == "License" and parts[-1] != _FAMILY]
    # the old field may be the whole text of a licence
    text = str(stated.get("license", "")).strip().splitlines()
    return names[0] if names else text[0].strip() if text else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(sbom(), indent=1) + "\n", encoding="utf-8")
