"""`darkroom doctor`, the command."""

import json as text
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.errors import InvalidSettings
from shared.running_stack import load_operator_settings

if TYPE_CHECKING:
    from cli.doctor.finding import Finding


def doctor(
    *,
    stack: Path | None = None,
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False,
) -> int:
    """Check settings, Redis, history, storage, provider, clocks, workers, queues and the API.

    For each fault it prints what to do; the exit code is then 1. Nothing is paid for: the provider
    is asked for a record that does not exist, and one small object is written to the storage and
    deleted. It checks the service named by the DARKROOM_… variables; if they name no Redis, the
    stack of DARKROOM_STACK, or the one running in this folder.

    Parameters
    ----------
    stack
        The stack.json of a running `darkroom up`: check that stack and ignore the variables.

    """
    from cli.doctor.checks import examine  # noqa: PLC0415  half a second that `--help` need not wait for

    try:
        settings = load_operator_settings(stack)
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
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
    return 0 if well else 1


def _lines(finding: "Finding") -> Iterable[str]:
    yield f"{'ok   ' if finding.well else 'WRONG'}  {finding.check}: {finding.message}"
    if not finding.well and finding.advice:
        yield f"       {finding.advice}"


def _show(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
