"""The rules as Prometheus reads them, and each alert once firing and once not."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import objectives
from tests.deploy import debian
from tests.deploy.alert_cases import CASES, Case
from tests.deploy.compose import ROOT
from tests.deploy.prometheus import program

RULES = ROOT / "deploy" / "prometheus" / "rules"
RUNBOOKS = ROOT / "deploy" / "runbooks"


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


#: The objective of an alert, where it has one.
SLO = {one.alert: one.name for one in objectives.OBJECTIVES}


def test_promtool_accepts_every_rule() -> None:
    ran = subprocess.run(
        [program("promtool"), "check", "rules", *sorted(RULES.glob("*.yml"))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr + ran.stdout


@pytest.mark.parametrize(
    # the rules of compose lie where its container has them
    ("file", "how"),
    [("prometheus.yml", ["--syntax-only"]), ("static.yml", [])],
)
def test_promtool_accepts_the_configuration(file: str, how: list[str]) -> None:
    config = ROOT / "deploy" / "prometheus" / file

    ran = subprocess.run(
        [program("promtool"), "check", "config", *how, config],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr + ran.stdout


def test_alertmanager_takes_its_configuration() -> None:
    amtool = debian.program("amtool", "prometheus-alertmanager")
    config = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"

    checked = subprocess.run(
        [amtool, "check-config", config], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tried() -> None:
    known = {(one["alert"], one["labels"]["severity"]) for one in alerts()}

    assert {(case.alert, case.severity) for case in CASES} == known


@pytest.mark.parametrize("file", ["alerts.yml", "objectives.yml"])
def test_each_alert_fires_when_it_should_and_tells_the_figure_and_only_then(
    file: str, tmp_path: Path
) -> None:
    cases = [case for case in CASES if (case.alert in SLO) == (file == "objectives.yml")]
    groups = [
        _group(together, firing=firing)
        for firing in (True, False)
        for together in _packed(cases, firing=firing)
    ]
    test = tmp_path / "tests.yml"
    annotation = {"rule_files": [str(RULES / file)], "evaluation_interval": "1m", "tests": groups}
    test.write_text(yaml.safe_dump(annotation))

    ran = subprocess.run(
        [program("promtool"), "test", "rules", test], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


def _packed(cases: list[Case], *, firing: bool) -> list[list[Case]]:
    """Put cases together that have no metric in common: a group costs more than what is in it."""
    packs: list[tuple[set[str], list[Case]]] = []
    for case in cases:
        series = case.firing if firing else case.quiet
        metrics = {name.split("{")[0] for name in series}
        pack = next((pack for pack in packs if not pack[0] & metrics), None)
        if pack is None:
            packs.append((metrics, [case]))
        else:
            pack[0].update(metrics)
            pack[1].append(case)
    return [together for _, together in packs]


def _group(cases: list[Case], *, firing: bool) -> dict[str, Any]:
    series = {
        name: values
        for case in cases
        for name, values in (case.firing if firing else case.quiet).items()
    }
    tests = [
        {
            "eval_time": case.at,
            "alertname": case.alert,
            "exp_alerts": [
                _expected(case, rule) for rule in alerts() if firing and _is_of(case, rule)
            ],
        }
        for case in cases
    ]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": tests,
    }


def _is_of(case: Case, rule: dict[str, Any]) -> bool:
    """Return whether a rule fires in a case; what pages for an objective opens a ticket too."""
    same = rule["alert"] == case.alert and rule["labels"].get("queue") in {
        None,
        case.labels.get("queue"),
    }
    severities = {case.severity} if case.severity == "ticket" else {"page", "ticket"}
    return same and rule["labels"]["severity"] in severities


def _expected(case: Case, rule: dict[str, Any]) -> dict[str, Any]:
    slo = {"slo": SLO[case.alert]} if case.alert in SLO else {}

    def annotation(text: str) -> str:
        for label, value in case.labels.items():
            text = text.replace(f"{{{{ $labels.{label} }}}}", value)
        return re.sub(r"\{\{ \$value[^}]*\}\}", case.figure, text)

    annotations = {name: annotation(text) for name, text in rule["annotations"].items()}
    return {
        "exp_labels": {**rule["labels"], **case.labels, **slo},
        "exp_annotations": annotations,
    }


def test_what_is_written_by_a_program_is_what_it_would_write() -> None:
    assert objectives.FILE.read_text(encoding="utf-8") == objectives.text()


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    linked = {one["annotations"]["runbook_url"] for one in alerts()}

    assert linked == {f"{objectives.RUNBOOKS}/{one['alert']}.md" for one in alerts()}
    of_alerts = {path.stem for path in RUNBOOKS.glob("Darkroom*.md")}
    assert of_alerts == {one["alert"] for one in alerts()}


@pytest.mark.parametrize("name", sorted(path.stem for path in RUNBOOKS.glob("*.md")))
def test_every_runbook_has_meaning_impact_diagnosis_and_action(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")

    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [f"# {name}", "## Meaning", "## Impact", "## Diagnosis", "## Action"]
    assert "```console" in text


def test_every_alert_tells_its_severity_and_what_it_saw() -> None:
    for one in alerts():
        assert one["labels"]["severity"] in {"page", "ticket"}
        assert set(one["annotations"]) == {"summary", "description", "runbook_url"}
        # a rule that compares with 0 or 1 sees a state, which its description names
        sees_state = re.search(r"(==|>|<|!=) [01]$", one["expr"].strip())
        assert sees_state or re.search(r"\$value|\b0 processes", one["annotations"]["description"])


def test_whatever_silences_another_alert_names_alerts_that_exist() -> None:
    annotation = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text("utf-8"))
    known = {one["alert"] for one in alerts()}
    matchers = [
        matcher
        for rule in annotation["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        if matcher.startswith("alertname")
    ]

    for matcher in matchers:
        pattern = matcher.split("=", 1)[1].removeprefix("~").strip('"')
        words = len(re.findall(r"[A-Za-z]+(?=[|)]|$)", pattern))
        assert len([one for one in known if re.fullmatch(pattern, one)]) == words, matcher
