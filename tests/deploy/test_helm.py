"""The Helm chart, rendered by Helm's own library: the same resources as kustomize builds."""

import json
import re
from collections.abc import Mapping
from typing import Any

import helm_python
import kubernetes_validate
import pytest

from deploy import helm
from tests.deploy.test_kubernetes import FOREIGN, OURS, VERSION, _build, _documents

Resources = dict[tuple[str, str], dict[str, Any]]


def production(**changes: Any) -> dict[str, Any]:
    """Return the example's values with others beside them or in their place."""
    return {**helm.production(), **changes}


def rendered(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    with helm_python.Chart.load(helm.CHART) as chart:
        files = chart.render(dict(values), name="darkroom", namespace="darkroom")
    return [document for text in files.values() for document in _documents(text)]


def named(resources: list[dict[str, Any]]) -> Resources:
    return {(one["kind"], one["metadata"]["name"]): one for one in resources}


def built() -> Resources:
    """Return what kustomize builds for production, without what Helm does in another way.

    A namespace is named when a chart is installed, and a changed setting replaces pods by an
    annotation instead of another name of the ConfigMap.
    """
    text = json.dumps([one for one in _build("production") if one["kind"] != "Namespace"])
    resources = json.loads(re.sub(r"darkroom-settings-\w{10}", "darkroom-settings", text))
    for one in resources:
        del one["metadata"]["namespace"]
    return named(resources)


def comparable(resources: Resources) -> Resources:
    """Return resources with variables in one order, and without the annotation of settings."""
    for one in resources.values():
        if one["kind"] == "Deployment":
            template = one["spec"]["template"]
            template["metadata"].pop("annotations", None)
            template["spec"]["containers"][0]["env"].sort(key=lambda variable: variable["name"])
    return resources


def test_the_chart_renders_what_kustomize_builds() -> None:
    expected = comparable(built())

    result = comparable(named(rendered(production())))

    assert result.keys() == expected.keys()
    for name, resource in expected.items():
        assert result[name] == resource, name


def test_files_are_a_config_map_that_every_process_mounts() -> None:
    content = "models:\n  - id: acme/painter  # {{ not a template }}\n"

    resources = named(rendered(production(files={"models.yaml": content})))

    assert resources["ConfigMap", "darkroom-files"]["data"] == {"models.yaml": content}
    for name in OURS:
        pod = resources["Deployment", name]["spec"]["template"]["spec"]
        [volume] = [one for one in pod["volumes"] if one["name"] == "files"]
        assert volume["configMap"]["name"] == "darkroom-files"
        [mount] = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "files"]
        assert mount["mountPath"] == "/etc/darkroom"


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {**helm.production()["settings"], "DARKROOM_MAX_QUEUE": "7"}},
        {"files": {"models.yaml": "models: []"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_setting_or_file_replaces_the_pods(changes: dict[str, Any]) -> None:
    before, after = named(rendered(production())), named(rendered(production(**changes)))

    for name in OURS:
        deployments = (one["Deployment", name] for one in (before, after))
        old, new = (one["spec"]["template"]["metadata"]["annotations"] for one in deployments)
        assert old != new


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(None, 80), ("5", 80), ("60.5", 81), ("180", 200), (" 86400\n", 86_420)],
)
def test_a_worker_may_end_the_longest_call_that_the_settings_allow(
    timeout: str | None, seconds: int
) -> None:
    given = {} if timeout is None else {"DARKROOM_PROVIDER_TIMEOUT_SECONDS": timeout}
    settings = {**helm.production()["settings"], **given}

    resources = named(rendered(production(settings=settings)))

    for name in OURS[1:]:
        pod = resources["Deployment", name]["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == seconds


def test_operators_and_traces_are_chosen_by_values() -> None:
    off, on = {"enabled": False}, {"enabled": True}
    values = production(keda=off, monitoring=off, tracing=on, workerGenerate={"replicas": 5})

    resources = named(rendered(values))

    assert FOREIGN & {kind for kind, _ in resources} == set()
    for one in resources.values():
        kubernetes_validate.validate(one, VERSION, strict=True)
    assert resources["Deployment", "darkroom-worker-generate"]["spec"]["replicas"] == 5
    assert resources["Deployment", "darkroom-worker-deliver"]["spec"]["replicas"] == 2
    settings = resources["ConfigMap", "darkroom-settings"]["data"]
    assert settings["DARKROOM_OTLP_ENDPOINT"] == "http://otel-collector.monitoring:4318"
    assert ("NetworkPolicy", "darkroom-traces") in resources


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"settings": {}}, "DARKROOM_PUBLIC_URL"),
        ({"image": {"repository": ""}}, "repository"),
        ({"replicas": 2}, "replicas"),
        ({"settings": {**helm.production()["settings"], "DARKROOM_SURELY": "1"}}, "SURELY"),
        ({"settings": {**helm.production()["settings"], "DARKROOM_MAX_QUEUE": 10**6}}, "MAX_QUEUE"),
        ({"settings": {**helm.production()["settings"], "DARKROOM_REDIS_URL": "x"}}, "REDIS_URL"),
        ({"ports": {"redis": []}}, "redis"),
    ],
)
def test_wrong_values_are_refused_with_their_name(changes: dict[str, Any], told: str) -> None:
    with helm_python.Chart.load(helm.CHART) as chart:
        chart.validate_schema(production())
        with pytest.raises(helm_python.HelmValuesError, match=told):
            chart.validate_schema(production(**changes))


def test_helm_has_nothing_to_say_against_the_chart() -> None:
    report = helm_python.lint(helm.CHART, production(), strict=True)

    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


def test_what_is_written_by_a_program_is_what_it_would_write() -> None:
    files = helm.files()
    written = {name: (helm.CHART / name).read_text("utf-8") for name in files}
    templates = {path.name for path in (helm.CHART / "templates").iterdir()}

    assert written == files
    assert templates == {name.partition("/")[2] for name in written if "templates/" in name}
