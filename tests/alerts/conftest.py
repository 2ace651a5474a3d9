"""A line for each alert that was made to fire."""

from typing import Any

import pytest

SEEN = "alert"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [one for kind in terminalreporter.stats.values() for one in kind]
    lines = [
        told
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, told in getattr(report, "user_properties", ())
        if name == SEEN
    ]
    if lines:
        terminalreporter.section("alerts")
        head = f"{'alert':<38} {'fault':<36} {'fired after':>11} {'resolved after':>14}"
        terminalreporter.write_line("\n".join((head, *lines)))


@pytest.fixture
def tell(record_property: Any) -> Any:
    def note(alert: str, what: str, fired: float, resolved: float) -> None:
        record_property(SEEN, f"{alert:<38} {what:<36} {fired:>9.1f} s {resolved:>12.1f} s")

    return note
