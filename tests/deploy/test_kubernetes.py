"""The Kubernetes files: whole, built by kustomize, and right by their schemas."""

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy.engine import make_url

from deploy import cluster
from shared.settings import PREFIX, Settings
from tests.deploy.compose import ROOT, services
from tests.support import node
from worker.lifecycle import GRACE_SECONDS

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("sandbox", "production")
VERSION = "1.34"
OURS = ("darkroom-api", "darkroom-worker-generate", "darkroom-worker-deliver")
#: JavaScript packages with the schemas of what operators read.
SCHEMAS = node.HOME / "kubernetes"
#: Kinds of operators: their schemas are not Kubernetes' own.
FOREIGN = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}


def _documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def _kustomizations() -> list[Path]:
    return sorted(FOLDER.rglob("kustomization.yaml"))


def _named(path: Path) -> set[Path]:
    """Return every file and folder that a kustomization names."""
    told = yaml.safe_load(path.read_text("utf-8"))
    patches = [patch["path"] for patch in told.get("patches", ()) if "path" in patch]
    names = [*told.get("resources", ()), *told.get("components", ()), *patches]
    return {(path.parent / name).resolve() for name in names}


def _sources() -> list[Any]:
    files = [path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml"]
    return [
        pytest.param(document, id=f"{path.relative_to(FOLDER)}: {document['kind']}")
        for path in sorted(files)
        for document in _documents(path.read_text("utf-8"))
        if path.name != "api.yaml" or "production" not in path.parts
    ]


def _base(name: str, kind: str = "Deployment") -> dict[str, Any]:
    file = name.removeprefix("darkroom-")
    documents = _documents((FOLDER / "base" / f"{file}.yaml").read_text("utf-8"))
    return next(one for one in documents if one["kind"] == kind)


def _pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = _base(name)["spec"]["template"]["spec"]
    return spec


def test_every_file_that_is_named_exists_and_every_file_is_named() -> None:
    named = set[Path]().union(*(_named(path) for path in _kustomizations()))
    files = {path.resolve() for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml"}

    assert {path for path in named if not path.exists()} == set()
    assert files - named == set()


@pytest.mark.parametrize("resource", _sources())
def test_every_resource_follows_its_schema(resource: dict[str, Any]) -> None:
    if resource["kind"] in FOREIGN:
        assert set(resource) == {"apiVersion", "kind", "metadata", "spec"}
    else:
        kubernetes_validate.validate(resource, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_and_what_it_builds_follows_the_schemas(overlay: str) -> None:
    built = _build(overlay)

    for resource in built:
        if resource["kind"] not in FOREIGN:
            kubernetes_validate.validate(resource, VERSION, strict=True)
    kinds = {(one["kind"], one["metadata"]["name"]) for one in built}
    assert {("Deployment", name) for name in OURS} <= kinds
    assert {("PodDisruptionBudget", name) for name in OURS} <= kinds


def test_what_operators_read_follows_their_own_schemas() -> None:
    node.install(SCHEMAS)
    foreign = [one for one in _build("production") if one["kind"] in FOREIGN]
    wrong = {**foreign[0], "spec": {"surely": "not"}}

    told = node.run(SCHEMAS / "validate.mjs", "\n".join(map(json.dumps, [*foreign, wrong])))

    *judged, last = map(json.loads, told.splitlines())
    assert {one["kind"] for one in judged} == FOREIGN
    assert [one for one in judged if one["fault"]] == []
    assert last["fault"]


def test_traces_are_one_component_more(tmp_path: Path) -> None:
    up = os.path.relpath(FOLDER, tmp_path)
    wanted = {
        "resources": [f"{up}/base"],
        "components": [f"{up}/components/tracing"],
        "configMapGenerator": [{"name": "darkroom-settings", "literals": ["DARKROOM_S3_REGION=x"]}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(wanted))

    built = _built(tmp_path)

    [settings] = [one["data"] for one in built if one["kind"] == "ConfigMap"]
    assert settings == {
        "DARKROOM_S3_REGION": "x",
        "DARKROOM_OTLP_ENDPOINT": "http://otel-collector.monitoring:4318",
    }
    names = {one["metadata"]["name"] for one in built if one["kind"] == "NetworkPolicy"}
    assert "darkroom-traces" in names


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_of_an_overlay_is_reached_by_its_selectors(overlay: str) -> None:
    built = _build(overlay)
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in built
        if one["kind"] in {"Deployment", "StatefulSet"}
    ]

    for one in built:
        selector = one["spec"].get("selector", {}) if one["kind"] == "Service" else None
        if selector is not None:
            assert any(selector.items() <= known.items() for known in labels), one["metadata"]
    assert all(known["app.kubernetes.io/part-of"] == "darkroom" for known in labels)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_of_an_overlay_exists_and_is_taken(overlay: str) -> None:
    told = yaml.safe_load((FOLDER / "overlays" / overlay / "kustomization.yaml").read_text("utf-8"))
    literals = dict(line.split("=", 1) for line in told["configMapGenerator"][0]["literals"])

    given = {name.removeprefix(PREFIX).lower(): value for name, value in literals.items()}
    assert set(given) <= set(Settings.model_fields)
    Settings.model_validate(given)


@pytest.mark.parametrize("name", OURS)
def test_a_pod_runs_what_compose_runs_and_is_locked_down(name: str) -> None:
    pod = _pod(name)
    container = pod["containers"][0]

    assert container["args"] == services()[name.removeprefix("darkroom-")]["command"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", OURS)
def test_a_pod_reads_its_secrets_from_files_that_are_mounted(name: str) -> None:
    pod = _pod(name)
    container = pod["containers"][0]
    mounted = {
        f"/run/darkroom/{item['path']}"
        for volume in pod["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    }

    given = {one["name"]: one["value"] for one in container["env"]}
    read = {value for variable, value in given.items() if variable.endswith("_FILE")}
    known = {one.removeprefix(PREFIX).removesuffix("_FILE").lower() for one in given}
    assert read == mounted
    assert known <= set(Settings.model_fields)


def test_every_process_may_reach_the_history() -> None:
    policy = _base("networkpolicy", "NetworkPolicy")
    open_ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    [secret] = [one for one in _build("sandbox") if one["kind"] == "Secret"]
    given = {name: b64decode(text).decode() for name, text in secret["data"].items()}
    [server] = [
        one["spec"]["template"]["spec"]["containers"][0]
        for one in _build("sandbox")
        if one["metadata"]["name"] == "postgres" and one["kind"] == "StatefulSet"
    ]
    created = {one["name"]: one.get("value") for one in server["env"]}

    url = make_url(given["history_url"])
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "darkroom"}
    assert url.port in open_ports
    assert url.password == given["postgres_password"]
    assert (url.username, url.database) == (created["POSTGRES_USER"], created["POSTGRES_DB"])
    assert server["image"] == services()["postgres"]["image"]


def test_a_worker_may_end_before_it_is_killed() -> None:
    least = Settings().provider_timeout_seconds + GRACE_SECONDS + 5

    for name in OURS[1:]:
        assert _pod(name)["terminationGracePeriodSeconds"] >= least


def test_what_is_written_by_a_program_is_what_it_would_write() -> None:
    written = {name: (cluster.FOLDER / name).read_text("utf-8") for name in cluster.files()}

    assert written == cluster.files()


def _build(overlay: str) -> list[dict[str, Any]]:
    return _built(FOLDER / "overlays" / overlay)


def _built(kustomization: Path) -> list[dict[str, Any]]:
    kubectl = Path(sys.executable).with_name("kubectl")
    built = subprocess.run(
        [kubectl, "kustomize", kustomization],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert built.returncode == 0, built.stderr
    return _documents(built.stdout)
