"""docker-compose.yml and the Dockerfile, as far as they can be judged without a Docker engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from sqlalchemy.engine import make_url

from sandbox.compose_init import SANDBOX_FILES, first_start
from sandbox.devstack.keys import TenantKeys
from shared.settings import PREFIX, Settings
from tests.deploy import debian
from tests.deploy.compose import ENDING, FILE, OURS, ROOT, grace_seconds, read, services
from worker.lifecycle import GRACE_SECONDS

SECRETS = ("S3_ACCESS_KEY", "S3_SECRET_KEY", "ONEMIN_API_KEY", "SEAL_KEYS", "HISTORY_URL")
#: What a start waits for, where that is not its health: the service runs without the history.
CONDITIONS = {
    **dict.fromkeys(ENDING, "service_completed_successfully"),
    "postgres": "service_started",
}


def test_the_compose_file_follows_the_specification() -> None:
    whole = {name: part for name, part in read().items() if not name.startswith("x-")}

    # the parser knows addresses only; the engine puts one in the place of host-gateway
    text = yaml.safe_dump(whole).replace(":host-gateway", ":192.0.2.1")
    compose = PyCompose.from_yaml(text)

    compose.validate()
    assert sorted(compose.service_names()) == sorted(services())


def test_a_first_start_needs_no_variable() -> None:
    assert services()["provider"]["scale"] == 1  # `read` fails where a variable has no default
    assert services({"DARKROOM_SANDBOX": "0"})["provider"]["scale"] == 0


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_locked_down(name: str) -> None:
    service = services()[name]

    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108  the only place that may be written
    assert service["init"] is True


@pytest.mark.parametrize("name", sorted(services()))
def test_every_image_is_pinned_and_every_service_that_stays_has_a_health_check(name: str) -> None:
    service = services()[name]

    assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", service["image"])
    assert name in ENDING or service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_every_setting_that_compose_gives_exists_and_no_secret_is_among_the_values(
    name: str,
) -> None:
    given = set(services()[name].get("environment", {})) - {"FORWARDED_ALLOW_IPS"}  # uvicorn's

    known = set(Settings.model_fields)
    told = {name.removeprefix(PREFIX).removesuffix("_FILE").lower() for name in given}
    assert told <= known
    assert not {f"{PREFIX}{secret}" for secret in SECRETS} & given


@pytest.mark.parametrize("setting", ["HISTORY_URL", "SEAL_KEYS"])
def test_what_the_first_start_makes_can_be_switched_off(setting: str) -> None:
    variable = f"{PREFIX}{setting}_FILE"

    usual, off = services(), services({variable: ""})

    for name in ("api", "worker-generate", "worker-deliver"):
        assert usual[name]["environment"][variable] == f"/run/darkroom/{setting.lower()}"
        assert off[name]["environment"][variable] in {None, ""}


@pytest.mark.parametrize("name", sorted(services()))
def test_whoever_is_waited_for_is_waited_for_until_it_is_well(name: str) -> None:
    conditions = {
        other: how["condition"] for other, how in services()[name].get("depends_on", {}).items()
    }
    # check-provider only has to come after them
    usual = "service_started" if name == "check-provider" else "service_healthy"

    assert conditions == {other: CONDITIONS.get(other, usual) for other in conditions}


@pytest.mark.parametrize("sandbox", ["0", "1"])
def test_up_wait_ends_well_though_the_first_start_ends_by_itself(sandbox: str) -> None:
    # Compose takes a service for one that ends where one that is started waits for its end
    started = {
        name: part
        for name, part in services({"DARKROOM_SANDBOX": sandbox}).items()
        if part.get("scale", 1) and not part.get("profiles")
    }
    waited_for = {
        (other, how["condition"])
        for part in started.values()
        for other, how in (part.get("depends_on") or {}).items()
    }

    ends = {name for name, part in started.items() if part["restart"] == "no"}
    assert ends == set(ENDING)
    assert {(name, "service_completed_successfully") for name in ends} <= waited_for
    assert {name for name, part in started.items() if "healthcheck" not in part} == ends


def _written() -> list[Path]:
    pages = [ROOT / "README.md", FILE, *(ROOT / "docs").glob("*.md")]
    return [*pages, *(ROOT / "deploy").rglob("*.md"), *(ROOT / "deploy").rglob("*.sh")]


@pytest.mark.parametrize("path", sorted(_written()), ids=lambda path: str(path.relative_to(ROOT)))
def test_whoever_pastes_a_start_waits_until_it_answers(path: Path) -> None:
    text = path.read_text("utf-8")

    starts = re.findall(r"docker compose (?:--profile \w+ )?up\b[^`\n]*", text)
    assert [start for start in starts if " --wait" not in start] == []


def test_the_pod_of_a_restore_is_as_the_redis_that_it_stands_in_for() -> None:
    redis, _ = yaml.safe_load_all(
        (ROOT / "deploy/kubernetes/overlays/sandbox/redis.yaml").read_text("utf-8")
    )
    pod = yaml.safe_load((ROOT / "deploy/redis/restore-pod.yaml").read_text("utf-8"))

    kubernetes_validate.validate(pod, "1.34", strict=True)
    own, stands_for = pod["spec"], redis["spec"]["template"]["spec"]
    assert own["securityContext"] == stands_for["securityContext"]
    for name in ("image", "securityContext", "resources", "volumeMounts"):
        assert own["containers"][0][name] == stands_for["containers"][0][name]
    (volume,) = own["volumes"]
    claimed = f"data-{redis['metadata']['name']}-0"
    assert volume["persistentVolumeClaim"]["claimName"] == claimed


def test_one_service_builds_the_image_and_no_other_asks_a_registry_for_it() -> None:
    ours = {name: services()[name] for name in OURS}

    assert [name for name, part in ours.items() if "build" in part] == ["init"]
    assert {part["image"] for part in ours.values()} == {ours["init"]["image"]}
    assert {part["pull_policy"] for part in ours.values()} == {"never"}


def test_the_sandbox_is_stopped_after_the_worker_that_calls_it() -> None:
    needed = services()["worker-generate"]["depends_on"]

    # not required: DARKROOM_SANDBOX=0 leaves it out
    assert needed["provider"] == {"condition": "service_healthy", "required": False}
    assert {"redis", "s3"} <= set(needed)


def test_without_a_key_no_file_of_the_clone_is_read() -> None:
    # a clone made with umask 077 has files that the user of the containers cannot read
    assert read()["secrets"] == {"onemin_api_key": {"file": "/dev/null"}}


def test_only_the_worker_that_calls_the_provider_waits_for_a_key() -> None:
    waiting = {
        name for name, part in services().items() if "check-provider" in part.get("depends_on", {})
    }

    assert waiting == {"worker-generate"}
    # and so the API is there before a wrong key ends the start
    assert set(services()["check-provider"]["depends_on"]) == {"api", "worker-deliver"}


def test_a_redis_that_loads_its_data_is_neither_healthy_nor_given_up() -> None:
    check = services()["redis"]["healthcheck"]
    pods, _ = yaml.safe_load_all(
        (ROOT / "deploy/kubernetes/overlays/sandbox/redis.yaml").read_text("utf-8")
    )
    (container,) = pods["spec"]["template"]["spec"]["containers"]

    # without -e, valkey-cli exits with 0 although the answer is an error
    assert check["test"] == ["CMD", "valkey-cli", "-e", "ping"]
    assert check["start_period"] == "10m"
    assert container["readinessProbe"]["exec"]["command"] == check["test"][1:]


def test_an_endpoint_on_this_machine_has_a_name_in_the_containers() -> None:
    for name in ("api", "worker-deliver"):
        assert services()[name]["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_scales_in_the_environment_survive_a_plain_start() -> None:
    variables = {
        "api": "DARKROOM_API_SCALE",
        "worker-generate": "DARKROOM_WORKER_GENERATE_SCALE",
        "worker-deliver": "DARKROOM_WORKER_DELIVER_SCALE",
    }
    told = services(dict.fromkeys(variables.values(), "3"))

    assert {told[name]["scale"] for name in variables} == {3}
    assert {services()[name]["scale"] for name in variables} == {1}
    documented = (ROOT / "docs/operating.md").read_text("utf-8")
    assert [one for one in variables.values() if one not in documented] == []


def test_clients_reach_the_storage_where_redirects_lead_them() -> None:
    (published,) = services()["s3"]["ports"]
    endpoint = services()["api"]["environment"]["DARKROOM_S3_PUBLIC_ENDPOINT"]

    assert endpoint == f"http://{published.removesuffix(':8333')}"


#: What docs/operating.md has operators write into the clone: settings, keys, backups.
SECRET_FILES = (
    *(".env", "onemin.key", "passphrase", "tenants-2026-11-29.yaml"),
    *("dump.rdb", "dump-2026-11-29.rdb", "history.dump", "history-2026-11-29.dump"),
    *("redis_url", "history_url", "s3_access_key", "s3_secret_key", "onemin_api_key"),
)


def test_neither_git_nor_the_image_takes_what_operators_write_into_the_clone() -> None:
    asked = subprocess.run(
        ["git", "check-ignore", *SECRET_FILES],  # noqa: S607  the developer's own git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert asked.stdout.split() == list(SECRET_FILES)
    assert lines[0] == "*"
    assert not {f"!{name}" for name in SECRET_FILES} & set(lines)


@pytest.mark.parametrize("timeout", [None, "5", "180", "180.5"])
def test_a_worker_may_end_before_it_is_killed(timeout: str | None) -> None:
    chosen = {} if timeout is None else {"DARKROOM_PROVIDER_TIMEOUT_SECONDS": timeout}
    longest = float(timeout or Settings().provider_timeout_seconds)

    found = services(chosen)

    for name in ("worker-generate", "worker-deliver"):
        assert grace_seconds(found[name]) >= longest + GRACE_SECONDS + 5


def test_monitoring_is_started_only_when_it_is_asked_for() -> None:
    profiles = {name: part.get("profiles") for name, part in services().items()}

    assert {name for name, asked in profiles.items() if asked == ["monitoring"]} == {
        "prometheus",
        "alertmanager",
        "grafana",
    }


def test_every_file_that_is_mounted_exists() -> None:
    mounted = [volume.split(":")[0] for part in services().values() for volume in part["volumes"]]
    files = [path for path in mounted if path.startswith("./")]

    assert [path for path in files if not (ROOT / path).exists()] == []
    assert {path for path in mounted if not path.startswith("./")} == set(read()["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_files_that_settings_name_are_where_every_process_finds_them(name: str) -> None:
    assert "./deploy/files:/etc/darkroom:ro" in services()[name]["volumes"]
    assert (
        "/srv/darkroom:/etc/darkroom:ro"
        in services({"DARKROOM_FILES": "/srv/darkroom"})[name]["volumes"]
    )


def test_the_storage_gets_the_keys_that_the_first_start_made(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "s3_access_key").write_text("ACCESS")
    (keys / "s3_secret_key").write_text("SECRET")
    start = tmp_path / "entrypoint.sh"
    start.write_text('#!/bin/sh\necho "$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $@"\n')
    start.chmod(0o755)
    service = services()["s3"]
    words = [
        word.replace("/run/darkroom", str(keys)).replace("/entrypoint.sh", str(start))
        for word in (*service["entrypoint"], *service["command"])
    ]

    ran = subprocess.run(words, capture_output=True, text=True, check=True, env={})

    assert ran.stdout.split() == ["ACCESS", "SECRET", *service["command"]]


def test_the_history_gets_the_password_that_is_in_its_url(tmp_path: Path) -> None:
    def tenant(_: str) -> TenantKeys:
        return TenantKeys(tenant="local", api_key="a", ops_key="o", webhook_secret="w")

    # an installation of a version without a history
    for name in ("s3_access_key", "s3_secret_key", "api_key"):
        (tmp_path / name).write_text("there before")
    first_start(tmp_path, Settings(), SANDBOX_FILES, tenant)
    password = (tmp_path / "postgres_password").read_text()
    first_start(tmp_path, Settings(), SANDBOX_FILES, tenant)

    url = make_url((tmp_path / "history_url").read_text())
    service = services()["postgres"]
    given = service["environment"]
    assert given["POSTGRES_PASSWORD_FILE"] == "/run/darkroom/postgres_password"
    assert (url.username, url.database) == (given["POSTGRES_USER"], given["POSTGRES_DB"])
    assert (url.host, url.port, url.password) == ("postgres", 5432, password)
    assert "ports" not in service
    assert (tmp_path / "api_key").read_text() == "there before"


def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    ran = subprocess.run(
        [hadolint, ROOT / "deploy" / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (ran.stdout, ran.returncode) == ("", 0)


@pytest.mark.parametrize("script", ["deploy/compose-check.sh", "deploy/redis/restore.sh"])
def test_shellcheck_has_nothing_against_the_scripts(script: str) -> None:
    shellcheck = debian.program("shellcheck", "shellcheck")

    ran = subprocess.run(
        [shellcheck, ROOT / script], capture_output=True, text=True, check=False, timeout=60
    )

    assert (ran.stdout, ran.returncode) == ("", 0)


def test_the_check_on_an_engine_says_plainly_that_there_is_none(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "sed", "sort", "head"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))

    ran = subprocess.run(
        [ROOT / "deploy" / "compose-check.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ran.returncode == 3
    (sentence,) = ran.stderr.splitlines()
    assert (
        sentence == "Nothing was checked: no Docker engine answers on this machine (docker info)."
    )


@pytest.mark.parametrize(("version", "refused"), [("2.23.3", True), ("2.24.0", False)])
def test_the_check_on_an_engine_needs_the_version_of_compose_that_the_documents_state(
    tmp_path: Path,
    version: str,
    refused: bool,  # noqa: FBT001  an example, not a switch
) -> None:
    stated = "Docker Compose 2.24.0 or newer"
    assert stated in FILE.read_text("utf-8")
    assert stated in (ROOT / "docs/operating.md").read_text("utf-8")
    docker = tmp_path / "docker"
    # an engine that answers, and whose Compose then fails everything
    docker.write_text(
        f'#!/bin/sh\n[ "$*" = info ] || {{ [ "$3" = --short ] && echo {version}; }}\n'
    )
    docker.chmod(0o755)

    ran = subprocess.run(
        [ROOT / "deploy" / "compose-check.sh"],
        env={"PATH": f"{tmp_path}:{os.defpath}", "TMPDIR": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (ran.returncode == 3) is refused
    assert (f"Docker Compose {version} is older than 2.24.0" in ran.stderr) is refused


def test_the_code_is_a_layer_of_its_own_in_the_image() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    (dependencies,) = [stage for stage in stages if " AS dependencies" in stage]
    (lock,) = [stage for stage in stages if " AS lock" in stage]

    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dependencies + lock, re.MULTILINE)
    assert copied == ["pyproject.toml uv.lock", "client/pyproject.toml"]
    assert re.findall(r"^COPY --from=(\w+)", stages[-1], re.MULTILINE) == ["dependencies", "code"]


def test_the_image_starts_what_compose_and_kubernetes_start_as_the_api() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    command = yaml.safe_load(lines[-1].removeprefix("CMD "))

    assert command == services()["api"]["command"]
