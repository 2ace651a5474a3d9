"""`darkroom doctor`: what the service adds to the program for whoever runs it."""

import json as text
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from darkroom.places import STACK
from shared.errors import BadSettings
from shared.settings import load_settings

if TYPE_CHECKING:
    from doctor.checks import Finding


def doctor(
    *,
    stack: Path | None = None,
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False,
) -> int:
    """Look at Redis, the storage, the provider's keys, the clocks, the workers and the API.

    Where something is wrong it says what to do, and ends with 1. Nothing is paid for: the
    provider is asked about a record that does not exist, the storage gets one small object that
    is deleted again. What is looked at is what the DARKROOM_… variables name.

    Parameters
    ----------
    stack
        The stack.json of a running `darkroom up`: look at that instead.

    """
    from doctor.checks import examine  # noqa: PLC0415  half a second that `--help` need not wait for

    try:
        settings = load_settings(**_of_stack(stack) if stack else {})
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (OSError, ValueError, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no stack.json: {error!r}"
        sys.stderr.write(f"{stack} cannot be read ({why}). A running `darkroom up` writes one.\n")
        return 2
    well = True
    findings = []
    for finding in examine(settings):
        well = well and finding.well
        findings.append(asdict(finding))
        if not json:
            _show(_lines(finding))
    if json:
        _show([text.dumps({"well": well, "findings": findings}, ensure_ascii=False, indent=2)])
    if not (well or stack) and STACK.exists():
        sys.stderr.write(f"There is a stack here: `darkroom doctor --stack {STACK}` looks at it.\n")
    return 0 if well else 1


def _of_stack(path: Path) -> dict[str, Any]:
    """Give the settings of a stack on this machine; any key opens its sandbox."""
    known = text.loads(path.read_bytes())
    s3 = known["s3"]
    given = {
        "redis_url": known["redis_url"],
        "public_url": known["api"],
        "s3_endpoint": s3["endpoint"],
        "s3_bucket": s3["bucket"],
        "s3_access_key": s3["access_key"],
        "s3_secret_key": s3["secret_key"],
        "s3_secure": False,
    }
    if "//127.0.0.1:" in known["provider_url"]:
        given |= {"onemin_base_url": known["provider_url"], "onemin_api_key": "sandbox"}
    return given


def _lines(finding: "Finding") -> Iterable[str]:
    yield f"{'ok   ' if finding.well else 'WRONG'}  {finding.check}: {finding.says}"
    if not finding.well and finding.advice:
        yield f"       {finding.advice}"


def _show(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
