"""The README's three commands, and the Prometheus configuration for them, as they are written."""

import re
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import yaml

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from tests.deploy.compose import ROOT
from tests.e2e.up import clean_environment
from tests.support.prometheus_server import running
from tests.support.servers import S3Server

STATIC = ROOT / "deploy" / "prometheus" / "static.yml"
JOBS = ("darkroom-api", "darkroom-worker-generate", "darkroom-worker-deliver")
_COMMAND = re.compile(r"^\$ ((?:\w+=\S+ )*darkroom (?:api|worker).*)$", re.MULTILINE)
_PORTS = ("8000", "9101", "9102")


def commands() -> list[list[str]]:
    """Return the commands of the README that start the service, by words."""
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    return [shlex.split(command) for command in _COMMAND.findall(written)]


def test_the_documented_prometheus_sees_all_that_the_documented_commands_start(
    empty_redis_url: str, s3: S3Server, tmp_path: Path
) -> None:
    # given
    here = {port: str(free_port()) for port in _PORTS}
    environment = {
        **clean_environment(),
        "DARKROOM_REDIS_URL": empty_redis_url,
        "DARKROOM_S3_ENDPOINT": f"http://{s3.endpoint}",
        "DARKROOM_S3_BUCKET": s3.bucket,
        "DARKROOM_S3_ACCESS_KEY": s3.access_key,
        "DARKROOM_S3_SECRET_KEY": s3.secret_key,
        "DARKROOM_ONEMIN_API_KEY": "any",
    }
    config = tmp_path / "prometheus.yml"
    config.write_text(_moved(STATIC.read_text(encoding="utf-8"), here))
    # when
    with ExitStack() as stack:
        for number, words in enumerate(commands()):
            stack.enter_context(_started(words, here, environment, tmp_path / f"{number}.log"))
        seen = stack.enter_context(running(config, tmp_path / "data"))
        # then
        told = [f'darkroom_build_info{{job="{job}"}}' for job in JOBS]
        wait_until(lambda: all(map(seen.shows, told)), f"the metrics of {', '.join(JOBS)}")
        assert seen.rules() > 0


def _started(
    words: list[str], here: dict[str, str], environment: dict[str, str], log: Path
) -> Child:
    settings = dict(word.split("=", 1) for word in words if word.startswith("DARKROOM_"))
    program, *rest = words[len(settings) :]
    if rest == ["api"]:
        rest += ["--port", here["8000"]]
    own = {name: here.get(value, value) for name, value in settings.items()}
    command = [str(Path(sys.executable).with_name(program)), *rest]
    return Child(command, log, environment={**environment, **own}, grace_seconds=80, home=ROOT)


def _moved(config: str, here: dict[str, str]) -> str:
    """Have the configuration look at free ports, each second, with the rules where they are."""
    for port, other in here.items():
        assert f"127.0.0.1:{port}" in config
        config = config.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
    changed = yaml.safe_load(config)
    changed["rule_files"] = [str(STATIC.parent / path) for path in changed["rule_files"]]
    changed["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return yaml.safe_dump(changed)
