"""The processes of the stack, as values: nothing here starts, reads or writes anything."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from sandbox.servers import s3_command, s3_environment, valkey_command
from shared.running_stack import (
    LOOPBACK_HOSTS,
    SANDBOX_AUTH_HEADER,
    SERVER_SETTINGS,
    direct_hosts,
)
from shared.settings import PREFIX, Settings
from shared.start_commands import api_command, worker_command

LOOPBACK = "127.0.0.1"
#: The key for the sandbox provider: never the real one, even if it is set.
SANDBOX_KEY = "sandbox"
#: Seconds beyond the provider's timeout that a worker has to stop: 10 are its own grace, after
#: which it exits by itself; it must not be killed while it returns its jobs.
WORKER_GRACE_SECONDS = 15.0
#: Seconds for running requests when the API stops; event streams would hold it forever.
API_GRACE_SECONDS = 3
#: Variables that the servers of the stack need.
_SERVER_VARIABLES = {f"{PREFIX}{name.upper()}": value for name, value in SERVER_SETTINGS.items()}

#: On a developer's machine or in a container, running as root needs no warning in each log.
_QUIET = ("-W", "ignore:You're running the worker with superuser privileges")

Provider = Literal["sandbox", "1min"]


class Kind(StrEnum):
    """The kind of a process, as `stack.json` names it."""

    API = "api"
    WORKER = "worker"
    PROVIDER = "provider"
    S3 = "s3"
    REDIS = "redis"


#: The order of stopping: clients before their servers.
STOPPING = (Kind.API, Kind.WORKER, Kind.PROVIDER, Kind.S3, Kind.REDIS)


@dataclass(frozen=True)
class ReadinessProbe:
    """How a process shows that it is ready: PING for redis://, else `url` by HTTP."""

    url: str
    status: int | None = None


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the stack."""

    name: str
    kind: Kind
    command: tuple[str, ...]
    ready: ReadinessProbe
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Further arguments, computed at each start.
    at_start: Callable[[], Sequence[str]] = tuple
    #: Whether its output goes to the terminal too, or only to its file.
    loud: bool = True
    grace_seconds: float = 10.0


@dataclass(frozen=True)
class Ports:
    """The loopback ports; `metrics` has one for each worker, deliver last."""

    api: int
    redis: int
    s3: int
    provider: int
    metrics: tuple[int, ...]


@dataclass(frozen=True)
class StackOptions:
    """The command line's options; None leaves the choice to the stack."""

    data: Path
    port: int | None = None
    provider: Provider | None = None
    workers: int = 1
    concurrency: int | None = None
    demo: bool = True
    #: The module of the workers' Celery app.
    worker_app: str = "worker.app"


@dataclass(frozen=True)
class S3Keys:
    """The keys of the embedded S3 server."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Plan:
    """Everything known before anything runs."""

    options: StackOptions
    ports: Ports
    keys: S3Keys
    settings: Settings
    #: The environment of the caller.
    inherited: Mapping[str, str]
    console: bool

    @property
    def provider(self) -> Provider:
        """The provider: the requested one, else 1min.ai if there is a key for it."""
        return self.options.provider or ("1min" if self.settings.onemin_keys else "sandbox")

    @property
    def api_url(self) -> str:
        """The URL of the API on this machine."""
        return f"http://{LOOPBACK}:{self.ports.api}"

    @property
    def redis_url(self) -> str:
        """The URL of the embedded Valkey."""
        return f"redis://{LOOPBACK}:{self.ports.redis}/0"

    @property
    def provider_url(self) -> str:
        """The URL of the provider: the sandbox's, or that of the settings."""
        if self.provider == "sandbox":
            return f"http://{LOOPBACK}:{self.ports.provider}"
        return self.settings.onemin_base_url

    @property
    def s3_endpoint(self) -> str:
        """The embedded S3 server, as host:port."""
        return f"{LOOPBACK}:{self.ports.s3}"

    @property
    def bucket_folder(self) -> Path:
        """The folder of the bucket; it must exist before the first image is stored."""
        return self.options.data / "s3" / self.settings.s3_bucket

    @property
    def history_url(self) -> str:
        """The database of the history: that of the settings, or a file of this machine."""
        return self.settings.history_url or f"sqlite:///{self.options.data / 'history/history.db'}"

    @property
    def history_shown(self) -> str:
        """The same without user and password."""
        return re.sub(r"^(postgresql://)[^/]*@", r"\1", self.history_url)

    @property
    def unused(self) -> list[str]:
        """User settings that are ignored, because the stack runs its own servers."""
        own = ("DARKROOM_REDIS_URL", "DARKROOM_S3_ENDPOINT", *_SERVER_VARIABLES)
        given = {name for name, value in self.inherited.items() if value}
        return [name for name in own if {name, f"{name}_FILE"} & given]

    @property
    def metrics_urls(self) -> list[str]:
        """All metrics URLs for Prometheus."""
        workers = [f"http://{LOOPBACK}:{port}/metrics" for port in self.ports.metrics]
        return [f"{self.api_url}/metrics", *workers]


def servers(plan: Plan, redis_options: Callable[[], Sequence[str]] = tuple) -> list[ProcessSpec]:
    """Return what must be ready before everything else: Valkey and the S3 server.

    `redis_options` is called at each start of Valkey.
    """
    redis = ProcessSpec(
        name="redis",
        kind=Kind.REDIS,
        command=tuple(valkey_command(plan.options.data / "redis", plan.ports.redis)),
        ready=ReadinessProbe(f"redis://{LOOPBACK}:{plan.ports.redis}"),
        at_start=redis_options,
        loud=False,
    )
    s3 = ProcessSpec(
        name="s3",
        kind=Kind.S3,
        command=tuple(s3_command(plan.options.data / "s3", plan.ports.s3)),
        environment=s3_environment(plan.keys.access_key, plan.keys.secret_key),
        ready=ReadinessProbe(f"http://{plan.s3_endpoint}/"),
        loud=False,
    )
    return [redis, s3]


def services(plan: Plan) -> list[ProcessSpec]:
    """Return the processes of Darkroom, and the sandbox provider if it is used."""
    generate = [_worker(plan, f"generate-{n}", "generate", n - 1) for n in _numbers(plan)]
    deliver = _worker(plan, "deliver", "deliver", plan.options.workers)
    provider = [_provider(plan)] if plan.provider == "sandbox" else []
    return [_api(plan), *generate, *provider, deliver]


def _numbers(plan: Plan) -> Iterable[int]:
    return range(1, plan.options.workers + 1)


def _api(plan: Plan) -> ProcessSpec:
    command = api_command(
        host=LOOPBACK,
        port=plan.ports.api,
        log_level="warning",
        timeout_graceful_shutdown=API_GRACE_SECONDS,
    )
    return ProcessSpec(
        name="api",
        kind=Kind.API,
        command=tuple(command),
        environment=environment(plan),
        ready=ReadinessProbe(f"{plan.api_url}/readyz", 200),
    )


def _worker(plan: Plan, name: str, queue: str, index: int) -> ProcessSpec:
    port = plan.ports.metrics[index]
    threads = plan.options.concurrency or plan.settings.concurrency
    program, *command = worker_command(
        queue, name=name, threads=threads, app=plan.options.worker_app
    )
    return ProcessSpec(
        name=name,
        kind=Kind.WORKER,
        command=(program, *_QUIET, *command),
        environment={**environment(plan), "DARKROOM_METRICS_PORT": str(port)},
        ready=ReadinessProbe(f"http://{LOOPBACK}:{port}/metrics", 200),
        grace_seconds=plan.settings.provider_timeout_seconds + WORKER_GRACE_SECONDS,
    )


def _provider(plan: Plan) -> ProcessSpec:
    program = str(Path(sys.executable).with_name("darkroom"))
    return ProcessSpec(
        name="provider",
        kind=Kind.PROVIDER,
        command=(program, "sandbox", "--port", str(plan.ports.provider), "--image-port", "0"),
        environment=environment(plan),
        ready=ReadinessProbe(f"{plan.provider_url}/_sandbox/calls", 200),
    )


def environment(plan: Plan) -> dict[str, str]:
    """Return the environment of all processes of Darkroom.

    The user's settings override the defaults of the stack, and the addresses of what the stack
    itself runs override both.
    """
    own = {**_sandbox(plan), **_own(plan)}
    files = {f"{name}_FILE" for name in own}  # an empty value would not hide them
    inherited = {name: value for name, value in plan.inherited.items() if name not in files}
    return {**_defaults(plan), **inherited, **own}


def _defaults(plan: Plan) -> dict[str, str]:
    defaults = {
        "DARKROOM_PUBLIC_URL": plan.api_url,
        "DARKROOM_WEBHOOK_ALLOW_HOSTS": ",".join(LOOPBACK_HOSTS),
        "DARKROOM_LOG_FORMAT": "console" if plan.console else "json",
    }
    if plan.provider == "sandbox":
        defaults["DARKROOM_PROVIDER_RATE_PER_MINUTE"] = "0"
    return {name: value for name, value in defaults.items() if f"{name}_FILE" not in plan.inherited}


def _sandbox(plan: Plan) -> dict[str, str]:
    if plan.provider != "sandbox":
        return {}
    return {
        "DARKROOM_ONEMIN_BASE_URL": plan.provider_url,
        "DARKROOM_ONEMIN_IMAGE_HOSTS": LOOPBACK,
        "DARKROOM_ONEMIN_ALLOW_PRIVATE_HOSTS": LOOPBACK,
        "DARKROOM_ONEMIN_API_KEY": SANDBOX_KEY,
        "DARKROOM_ONEMIN_AUTH_HEADER": SANDBOX_AUTH_HEADER,
    }


def _own(plan: Plan) -> dict[str, str]:
    own = {
        "DARKROOM_REDIS_URL": plan.redis_url,
        "DARKROOM_HISTORY_URL": plan.history_url,
        "DARKROOM_S3_ENDPOINT": plan.s3_endpoint,
        "DARKROOM_S3_ACCESS_KEY": plan.keys.access_key,
        "DARKROOM_S3_SECRET_KEY": plan.keys.secret_key,
        "DARKROOM_S3_BUCKET": plan.settings.s3_bucket,
        "DARKROOM_S3_REGION": plan.settings.s3_region,
        **_SERVER_VARIABLES,
        "DARKROOM_EGRESS_PROXY_DIRECT_HOSTS": ",".join(direct_hosts(plan.settings)),
        "PYTHONUNBUFFERED": "1",
    }
    if plan.settings.models_file:  # the processes have another working directory
        own["DARKROOM_MODELS_FILE"] = str(Path(plan.settings.models_file).absolute())
    if plan.options.concurrency:
        own["DARKROOM_CONCURRENCY"] = str(plan.options.concurrency)
    return own
