"""What the fault tests share: a line per fault at the end, and the invariants after each."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sandbox.wait import WaitTimeout, wait_until
from tests.faults.invariants import Line, all_faults, check_invariants
from tests.faults.observations import read_facts
from tests.faults.service import Service

#: Notes the figures of a fault: row, what was done, figures by name.
Tell = Callable[..., None]
#: Checks I1-I7 over some jobs of a service.
Audit = Callable[[Service, Iterable[str]], None]
FAULT, SEEN = "fault", "seen"
SETTLE_SECONDS = 30


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    def note(row: int, what: str, **figures: object) -> None:
        told = ", ".join(f"{name} {_short(value)}" for name, value in figures.items())
        record_property(FAULT, f"{row:>3}  {what:<44} {told}")

    return note


def _short(value: object) -> str:
    return f"{value:.1f} s" if isinstance(value, float) else str(value)


@pytest.fixture
def audit(record_property: Callable[[str, object], None]) -> Audit:
    """Wait until the seven invariants hold; fail with those that do not."""

    def check(service: Service, jobs: Iterable[str]) -> None:
        ids = list(jobs)
        lines: list[Line] = []
        service.wait_until_whole()

        def holds() -> bool:
            received = list(service.hook.received)
            facts = read_facts(service.state, service.data, jobs=ids, received=received)
            lines[:] = check_invariants(facts)
            return not all_faults(lines)

        try:
            # gauges are read once a second, webhooks are tried again
            wait_until(holds, "the invariants", seconds=SETTLE_SECONDS)
        except WaitTimeout:
            pytest.fail("\n".join(map(str, lines)))
        figures = {line.name[:2]: line.figures for line in lines}
        objects, webhooks = figures["I3"]["objects"], figures["I4"]["told"]
        record_property(SEEN, f"objects {objects}, webhooks {webhooks}")

    return check


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each fault with its figures."""
    reports = [one for kind in terminalreporter.stats.values() for one in kind]
    lines = sorted(filter(None, map(_line, reports)))
    if lines:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(lines))


def _line(report: Any) -> str:
    told = dict(getattr(report, "user_properties", ()))
    if FAULT not in told or report.when != "call":
        return ""
    return ", ".join(str(told[name]) for name in (FAULT, SEEN) if name in told)
