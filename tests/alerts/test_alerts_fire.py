"""Each alert is made to fire by its fault on a service that runs, and ends with it.

Prometheus judges the rules of deploy/ with all their windows and `for` divided by a number (see
`alert_stack.FACTORS`), and thresholds that are a time (`alert_stack.THRESHOLDS`); the rest is as it
is.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from sandbox.wait import wait_until
from tests.alerts.alert_stack import AlertStack, alert_stack, quick, shown_sooner
from tests.alerts.faults import CASES, OBJECTIVES, SYMPTOMS, Case
from tests.support.prometheus_server import rule_files

Tell = Callable[[str, str, float, float], None]
#: What a ticket looks back on, at the longest: six hours, divided.
RESOLVE_SECONDS = 240


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertStack]:
    with alert_stack(tmp_path_factory.mktemp("alerts")) as running:
        yield running


def ids(case: Case) -> str:
    return "-".join((case.alert, *case.labels.values()))


def labels(case: Case, severity: str) -> dict[str, str]:
    return {"alertname": case.alert, "severity": severity, **case.labels}


def wait_for_firing(here: AlertStack, case: Case, severity: str) -> None:
    told = labels(case, severity)
    wait_until(lambda: here.seen.fires(told), f"{told} to fire", seconds=case.seconds)


def wait_for_end(here: AlertStack, case: Case, severity: str) -> None:
    told = labels(case, severity)
    wait_until(lambda: not here.seen.fires(told), f"{told} to end", seconds=RESOLVE_SECONDS)


@pytest.fixture(scope="module")
def tickets() -> list[tuple[Case, float, float]]:
    """Objectives that were missed: when the ticket was opened after that, and when it was over."""
    return []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", OBJECTIVES, ids=ids)
def test_an_objective_that_is_missed_pages_and_opens_a_ticket(
    here: AlertStack, case: Case, tell: Tell, tickets: list[tuple[Case, float, float]]
) -> None:
    # given
    page, ticket = case.severities
    began = time.monotonic()
    # when
    with case.fault(here):
        wait_for_firing(here, case, page)
        paged = time.monotonic() - began
        wait_for_firing(here, case, ticket)
        opened = time.monotonic() - began
        ended, over_at = time.monotonic(), time.time()
    # then
    wait_for_end(here, case, page)
    tell(f"{case.alert} ({page})", case.what, paged, time.monotonic() - ended)
    tickets.append((case, opened, over_at))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_tickets_close_when_all_they_look_back_on_is_well(
    here: AlertStack, tell: Tell, tickets: list[tuple[Case, float, float]]
) -> None:
    for case, _, _ in tickets:
        wait_for_end(here, case, "ticket")

    for case, opened, over_at in tickets:
        closed = here.seen.fired_last(labels(case, "ticket")) - over_at
        tell(f"{case.alert} (ticket)", case.what, opened, closed)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", SYMPTOMS, ids=ids)
def test_a_fault_makes_its_alert_fire_and_its_end_ends_it(
    here: AlertStack, case: Case, tell: Tell
) -> None:
    # given
    [severity] = case.severities
    wait_for_end(here, case, severity)
    began = time.monotonic()
    # when
    with case.fault(here):
        wait_for_firing(here, case, severity)
        fired = time.monotonic() - began
        ended = time.monotonic()
    # then
    wait_for_end(here, case, severity)
    where = "".join(f" {word}" for word in case.labels.values())
    tell(f"{case.alert}{where} ({severity})", case.what, fired, time.monotonic() - ended)


def rules(*, quicker: bool) -> list[dict[str, Any]]:
    found = []
    for path in rule_files():
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups = (quick(path.name, read) if quicker else read)["groups"]
        found += [rule for group in groups for rule in group["rules"]]
    return found


def test_every_alert_has_a_fault_that_makes_it_fire() -> None:
    known = {
        (rule["alert"], rule["labels"]["severity"], rule["labels"].get("queue"))
        for rule in rules(quicker=False)
        if "alert" in rule
    }

    tried = {
        (case.alert, severity, case.labels.get("queue") if "Workers" in case.alert else None)
        for case in CASES
        for severity in case.severities
    }

    assert tried == known


def test_the_rules_that_are_tried_differ_by_their_times_alone() -> None:
    def without_times(expr: str) -> str:
        return re.sub(r"\[\d+[smhd]\]", "[]", expr)

    for written, tried in zip(rules(quicker=False), rules(quicker=True), strict=True):
        expected = without_times(shown_sooner(written))
        assert without_times(tried["expr"]) == expected
        assert {**tried, "expr": "", "for": ""} == {**written, "expr": "", "for": ""}
