"""Write the Helm chart from the Kubernetes files: `python -m deploy.helm`.

Its templates are the files of `kubernetes/base` and of the components, with expressions where an
overlay would patch them. The values of the overlay `production` are its example.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.version import version
from shared.settings import PREFIX, Settings

HERE = Path(__file__).parent
CHART = HERE / "helm" / "darkroom"
_KUBERNETES = HERE / "kubernetes"
_BASE = _KUBERNETES / "base"
_PRODUCTION = _KUBERNETES / "overlays" / "production"
_COMPONENTS = _KUBERNETES / "components"
_HEAD = "# Written by: python -m deploy.helm\n"
_LABELS = {"app.kubernetes.io/part-of": "darkroom"}
#: By Deployment: its member of the values.
PROCESSES = {
    "darkroom-api": "api",
    "darkroom-worker-generate": "workerGenerate",
    "darkroom-worker-deliver": "workerDeliver",
}
#: What no default fits.
_REQUIRED = ("DARKROOM_PUBLIC_URL", "DARKROOM_S3_BUCKET", "DARKROOM_S3_ENDPOINT")
#: How long a worker may take to stop: longer than the longest provider call.
_GRACE = "terminationGracePeriodSeconds"
_TIMEOUT = "provider_timeout_seconds"
#: The egress rules of the first NetworkPolicy after that for DNS, as the values name them.
_SERVERS = ("redis", "history", "storage")
#: Anything between these becomes an expression of the template. YAML needs no quotes for them.
_OPEN, _CLOSE = "<<", ">>"

_SETTINGS = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: darkroom-settings
  labels:
    app.kubernetes.io/part-of: darkroom
data:
{{- range $name, $value := .Values.settings }}
  {{ $name }}: {{ $value | quote }}
{{- end }}
{{- if .Values.tracing.enabled }}
  DARKROOM_OTLP_ENDPOINT: {{ .Values.tracing.endpoint | quote }}
{{- end }}
{{- with .Values.files }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: darkroom-files
  labels:
    app.kubernetes.io/part-of: darkroom
data:
{{- range $name, $content := . }}
  {{ $name }}: {{ $content | quote }}
{{- end }}
{{- end }}
"""
#: Grafana and Prometheus have templates of their own, so these files are not parsed as Helm's.
_MONITORING = """\
---
{{ .Files.Get "files/rules.yaml" }}
---
{{ .Files.Get "files/dashboards.yaml" }}
"""


def files() -> dict[str, str]:
    """Return the content of each generated file, by its name in the chart."""
    names = ("serviceaccount", "api", "worker-generate", "worker-deliver", "networkpolicy")
    monitoring = _template(_read(_COMPONENTS / "monitoring" / "servicemonitor.yaml")) + _MONITORING
    keda = _template(_read(_COMPONENTS / "keda" / "scaledobject.yaml"))
    tracing = _template(_read(_COMPONENTS / "tracing" / "networkpolicy.yaml"))
    templates = {name: _template(_read(_BASE / f"{name}.yaml")) for name in names} | {
        "settings": _SETTINGS,
        "keda": _if("keda.enabled", keda),
        "monitoring": _if("monitoring.enabled", monitoring),
        "tracing": _if("tracing.enabled", tracing),
    }
    return {
        "Chart.yaml": _HEAD + _dump([_chart()]),
        "values.yaml": _HEAD + _dump([values()]),
        "ci/production-values.yaml": _HEAD + _dump([production()]),
        "values.schema.json": json.dumps(schema(), indent=2) + "\n",
        **{f"templates/{name}.yaml": _HEAD + text for name, text in templates.items()},
    }


def values() -> dict[str, Any]:
    """Return the default values. What every installation has to name is empty."""
    tracing = _read(_COMPONENTS / "tracing" / "kustomization.yaml")[0]
    [endpoint] = _literals(tracing).values()
    return {
        "image": {"repository": "", "tag": ""},
        "secretName": "darkroom-secrets",
        "settings": {},
        "files": {},
        "api": {**_process("api"), "forwardedAllowIps": "127.0.0.1"},
        "workerGenerate": _worker("worker-generate"),
        "workerDeliver": _worker("worker-deliver"),
        "ports": dict(zip(_SERVERS, _server_ports(), strict=True)),
        "keda": {"enabled": True},
        "monitoring": {"enabled": True},
        "tracing": {"enabled": False, "endpoint": endpoint},
    }


def production() -> dict[str, Any]:
    """Return the values that the overlay for production has, as an example."""
    [overlay] = _read(_PRODUCTION / "kustomization.yaml")
    [image] = overlay["images"]
    [patch] = _read(_PRODUCTION / "api.yaml")
    [forwarded] = _container(patch)["env"]
    return {
        "image": {"repository": image["newName"]},
        "settings": _literals(overlay),
        "api": {"replicas": patch["spec"]["replicas"], "forwardedAllowIps": forwarded["value"]},
    }


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the values: a misspelt value or setting is refused."""
    elsewhere = _set_elsewhere()
    settings = {
        f"{PREFIX}{name.upper()}": {"type": "string", "description": field.description or ""}
        for name, field in Settings.model_fields.items()
        if name not in elsewhere
    }
    shape = _shape(values())
    shape["properties"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "required": list(_REQUIRED),
        "properties": settings,
    }
    shape["properties"]["files"] = {"type": "object", "additionalProperties": {"type": "string"}}
    shape["properties"]["image"]["properties"]["repository"]["minLength"] = 1
    shape["properties"]["global"] = {"type": "object"}  # Helm's own
    # Kubernetes checks them
    for process in PROCESSES.values():
        shape["properties"][process]["properties"]["resources"] = {"type": "object"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape}


def _chart() -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": "darkroom",
        "description": "An image generation service in front of 1min.ai",
        "type": "application",
        "version": version(),
        "appVersion": version(),
        "kubeVersion": ">=1.30.0-0",  # the first with `preStop: sleep` by default
    }


def _shape(value: object) -> dict[str, Any]:
    """Return the schema of values of the same form as this one."""
    if isinstance(value, dict):
        members = {name: _shape(one) for name, one in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": members}
    if isinstance(value, list):
        # a rule of a NetworkPolicy without ports opens all of them
        return {"type": "array", "minItems": 1, "items": _shape(value[0])}
    if isinstance(value, bool):
        return {"type": "boolean"}
    return {"type": "integer", "minimum": 0} if isinstance(value, int) else {"type": "string"}


def _set_elsewhere() -> set[str]:
    """Return the settings that the Secret, the processes or other values set."""
    variables = {
        one["name"]
        for name in ("api", "worker-generate", "worker-deliver")
        for one in _container(_read(_BASE / f"{name}.yaml")[0])["env"]
    }
    variables |= set(_literals(_read(_COMPONENTS / "tracing" / "kustomization.yaml")[0]))
    return {name.removeprefix(PREFIX).removesuffix("_FILE").lower() for name in variables}


def _process(name: str) -> dict[str, Any]:
    [deployment, *_] = _read(_BASE / f"{name}.yaml")
    resources = _container(deployment)["resources"]
    return {"replicas": deployment["spec"]["replicas"], "resources": resources}


def _worker(name: str) -> dict[str, Any]:
    """Return the values of a worker; with KEDA, `replicas` is the least number of them."""
    scaled = _read(_COMPONENTS / "keda" / "scaledobject.yaml")
    [limits] = [one["spec"] for one in scaled if one["metadata"]["name"] == f"darkroom-{name}"]
    return {**_process(name), "maxReplicas": limits["maxReplicaCount"]}


def _server_ports() -> list[list[int]]:
    _, *rules = _read(_BASE / "networkpolicy.yaml")[0]["spec"]["egress"]
    return [[port["port"] for port in rule["ports"]] for rule in rules]


def _literals(kustomization: dict[str, Any]) -> dict[str, str]:
    lines = kustomization["configMapGenerator"][0]["literals"]
    return dict(line.split("=", 1) for line in lines)


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _template(documents: Iterable[dict[str, Any]]) -> str:
    """Return resources as a template."""
    return _expressions(_dump(map(_resource, documents)))


def _resource(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"].setdefault("labels", {}).update(_LABELS)
    name = document["metadata"]["name"]
    if document["kind"] == "Deployment":
        _parametrize_deployment(document, PROCESSES[name])
    elif document["kind"] == "ScaledObject":
        worker = PROCESSES[name]
        spec = document["spec"]
        spec["minReplicaCount"] = spec["fallback"]["replicas"] = _value(f"{worker}.replicas")
        spec["maxReplicaCount"] = _value(f"{worker}.maxReplicas")
    elif (document["kind"], name) == ("NetworkPolicy", "darkroom"):
        _, *rules = document["spec"]["egress"]
        for rule, server in zip(rules, _SERVERS, strict=True):
            rule["ports"] = f"ports of {server}"
    return document


def _parametrize_deployment(document: dict[str, Any], process: str) -> None:
    spec = document["spec"]
    spec["replicas"] = _value(f"{process}.replicas")
    metadata, pod = spec["template"]["metadata"], spec["template"]["spec"]
    metadata["labels"].update(_LABELS)
    # a changed setting or file replaces the pods
    settings = 'include (print $.Template.BasePath "/settings.yaml") . | sha256sum'
    metadata["annotations"] = {"checksum/settings": f"{_OPEN}{settings}{_CLOSE}"}
    [container] = pod["containers"]
    tag = _value("image.tag | default .Chart.AppVersion")
    container["image"] = f"{_value('image.repository')}:{tag}"
    resources = f"toYaml .Values.{process}.resources | nindent 12"
    container["resources"] = f"{_OPEN}{resources}{_CLOSE}"
    if process == "api":
        allowed = {"name": "FORWARDED_ALLOW_IPS", "value": _value("api.forwardedAllowIps | quote")}
        container["env"].append(allowed)
    else:
        pod[_GRACE] = _grace_period(pod[_GRACE])
    [secrets] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    secrets["secretName"] = _value("secretName")


def _grace_period(usual: int) -> str:
    """Return the grace period of a worker: `usual`, or longer with a longer provider timeout."""
    reserve = usual - int(Settings.model_fields[_TIMEOUT].default)
    timeout = f'.Values.settings.{PREFIX}{_TIMEOUT.upper()} | default "" | trim | float64 | ceil'
    return f"{_OPEN}{timeout} | add {reserve} | max {usual}{_CLOSE}"


def _value(path: str) -> str:
    return f"{_OPEN}.Values.{path}{_CLOSE}"


def _expressions(text: str) -> str:
    """Replace the marks of a dumped document by what a template has in their place."""
    # KEDA says how many workers there are
    own = r"^  replicas: <<\.Values\.worker.*\n"
    unless_scaled = r"{{- if not .Values.keda.enabled }}\n\g<0>{{- end }}\n"
    text = re.sub(own, unless_scaled, text, flags=re.MULTILINE)
    ports = r"[{{ range .Values.ports.\1 }}{ protocol: TCP, port: {{ . }} }, {{ end }}]"
    text = re.sub(r"ports of (\w+)", ports, text)
    return re.sub(f"{_OPEN}(.+?){_CLOSE}", r"{{ \1 }}", text)


def _if(condition: str, text: str) -> str:
    return f"{{{{- if .Values.{condition} }}}}\n{text}{{{{- end }}}}\n"


def _read(path: Path) -> list[dict[str, Any]]:
    return list(_documents(path.read_text("utf-8")))


def _documents(text: str) -> Iterator[dict[str, Any]]:
    yield from (document for document in yaml.safe_load_all(text) if document)


def _dump(documents: Iterable[dict[str, Any]]) -> str:
    dumped = (yaml.safe_dump(one, sort_keys=False, width=1000) for one in documents)
    return "---\n".join(dumped)


if __name__ == "__main__":
    for name, content in files().items():
        (CHART / name).write_text(content, encoding="utf-8")
