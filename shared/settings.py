"""All settings, read from the environment.

The prefix is `DARKROOM_`; each setting can also be given as `…_FILE`, the path of a file that holds
the value (for secrets mounted by an orchestrator). Only the entry modules call `load_settings` and
pass the result on.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared import setting_values
from shared.api_keys import Scope
from shared.errors import InvalidSettings
from shared.jobs import FOREVER, RETENTION_SECONDS_MAX
from shared.model_catalog import BadCatalog, Catalog, load_catalog, read_prices
from shared.provider_keys import ProviderKey, read_key

PREFIX = "DARKROOM_"
#: Names at least this similar (0 to 1) are taken for misspelt settings.
_ALIKE = 0.9

#: Settings that had other names before 0.1.0.
_RENAMED = {
    "TRACE_SHARE": "TRACE_SAMPLE_RATIO",
    "RETENTION_SECONDS": "RECORD_RETENTION_SECONDS",
    "WEBHOOK_HOST_SLOTS": "WEBHOOK_MAX_PER_HOST",
    "WEBHOOK_DISABLE_SECONDS": "WEBHOOK_DISABLE_AFTER_SECONDS",
}

#: The most jobs that one worker process runs at once: each has a thread.
CONCURRENCY_MOST = 1000

#: The longest wait before an attempt of a delivery: a year.
WAIT_SECONDS_MAX = 31_536_000

#: Valid bucket names; the embedded storage creates a folder with this name.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")

#: A port, or the first and the last of a range.
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

#: The settings that every process needs, unless its S3 credentials are those of AWS.
S3_KEYS = ("s3_access_key", "s3_secret_key")
_OF_AWS = "aws"

#: Valid region names of S3 clients.
_REGION = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$"

#: The URL that 1min.ai documents for requests; the base URL is the part before it.
_ONEMIN_PATH = "/api/features"
_OTLP_PATH = "/v1/traces"

#: Time limits in seconds; the maximum is far beyond any useful wait.
Timeout = Annotated[float, Field(gt=0, le=86_400)]
#: Retention and waiting times in whole seconds: ten years at most.
Period = Annotated[int, Field(gt=0, le=RETENTION_SECONDS_MAX)]
#: The same, where 0 means forever.
Retention = Annotated[int, Field(ge=FOREVER, le=RETENTION_SECONDS_MAX)]
#: A final job stays in Redis at least this long: longer than the time within which a decision that
#: is based on the history must reach Redis (`shared.store.archive.DECIDE_MS`).
ARCHIVE_SECONDS_MIN = 15
#: How long a final job is kept in Redis where there is no history, unless a setting says otherwise.
_KEPT_WITHOUT_HISTORY_SECONDS = 604_800
#: An `Origin` header: the scheme, the host in ASCII, and a port.
_ORIGIN = re.compile(r"(https?)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_USUAL_PORTS = {"http": 80, "https": 443}

#: A list of words separated by commas.
CommaSeparated = Annotated[tuple[str, ...], NoDecode]
#: A list of name=number separated by commas.
Price = Annotated[float, Field(ge=0)]
Prices = Annotated[Mapping[str, Price], NoDecode]
#: A list of numbers separated by commas.
Numbers = Annotated[tuple[float, ...], NoDecode]


class EnvironmentSource(EnvSettingsSource):
    """Read `DARKROOM_X`; if it is empty or not set, the file that `DARKROOM_X_FILE` names."""

    def __call__(self) -> dict[str, Any]:
        """Return the value of every setting that the environment gives."""
        found = super().__call__()
        for name in self.settings_cls.model_fields:
            path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")  # noqa: TID251  the one reader
            if path and not setting_values.trimmed(found.get(name, "")):
                found[name] = _content(path)
        return found


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for an unreadable file, so that it is reported with all other faults."""

    reason: str


def _content(path: str) -> str | Unreadable:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        return Unreadable(f"the file {path} cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        return Unreadable(f"the file {path} is not UTF-8 text")


def _split_commas(written: str) -> tuple[str, ...]:
    entries = (setting_values.trimmed(entry) for entry in written.split(","))
    return tuple(entry for entry in entries if entry)


def _named_values(written: str) -> dict[str, str]:
    entries = (entry.partition("=") for entry in written.split(",") if entry.strip())
    return {name.strip(): value.strip() for name, _, value in entries}


def _port_range(entry: str) -> range:
    found = _PORTS.fullmatch(entry)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 65_535:  # noqa: PLR2004  the ports there are
        raise ValueError("needs ports from 1 to 65535, or ranges of them such as 1024-65535")
    return range(first, last + 1)


def _models_of(about: ValidationInfo) -> Catalog | None:
    """Return the catalog for checking names of models; None if its file has mistakes."""
    path = about.data.get("models_file")
    return None if path is None else load_catalog(path)


def _origin(entry: str) -> str:
    """Return an origin as browsers write it: lower case, without the default port."""
    if entry == "*":
        return entry
    found = _ORIGIN.fullmatch(entry.lower())
    if not found:
        raise ValueError(
            "needs origins such as https://app.example or http://localhost:3000, "
            "without a path; or * for any"
        )
    scheme, host, port = found.groups()
    if port:
        _port_range(port)
    is_usual = not port or int(port) == _USUAL_PORTS[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{int(port)}"


class Settings(BaseSettings):
    """The settings; each field's description is its comment in `.env.example`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a secret
    )

    # Redis: everything that must not be lost
    redis_url: Annotated[
        str,
        Field(
            repr=False, description="URL of Redis or Valkey; or sentinel://host:26379/0?master=NAME"
        ),
    ] = "redis://127.0.0.1:6379/0"
    redis_timeout_seconds: Annotated[
        Timeout, Field(description="Seconds to wait for a reply from Redis")
    ] = 1.8  # clients learn within 2 s that it does not respond
    redis_replicas: Annotated[
        int, Field(ge=0, description="Replicas that must confirm each write; 0 waits for none")
    ] = 0

    # the provider
    onemin_api_key: Annotated[
        SecretStr,
        Field(
            description="1min.ai API key; several are separated by commas and used in turn; "
            "write team:key for keys that share credits"
        ),
    ] = SecretStr("")
    seal_keys: Annotated[
        SecretStr,
        Field(
            description="Seal keys of the provider keys that operators add, separated by commas: "
            "the first encrypts, all decrypt; each a random text of at least 32 characters, the "
            "same for API and workers. Empty: no provider key can be added"
        ),
    ] = SecretStr("")
    onemin_base_url: Annotated[str, Field(description="Base URL of 1min.ai")] = (
        "https://api.1min.ai"
    )
    onemin_auth_header: Annotated[
        str,
        Field(description="Header that carries the key; Authorization sends it as a Bearer token"),
    ] = "API-KEY"
    onemin_async: Annotated[
        bool,
        Field(description="Experimental: submit each call, then poll the provider for its result"),
    ] = False
    onemin_image_hosts: Annotated[
        CommaSeparated,
        Field(description="Hosts that images may be downloaded from; .name allows subdomains"),
    ] = (
        "s3.us-east-1.amazonaws.com",
        "asset.1min.ai.s3.us-east-1.amazonaws.com",
        "storage.1min.ai",
        "asset.1min.ai",
    )
    onemin_allow_private_hosts: Annotated[
        CommaSeparated, Field(description="Image hosts that may have private or loopback addresses")
    ] = ()
    provider_timeout_seconds: Annotated[
        Timeout,
        Field(
            description="Longest time for one provider call, in seconds; the grace period of a "
            "worker must be 15 seconds longer"
        ),
    ] = 60.0
    provider_rate_per_minute: Annotated[
        float,
        Field(
            ge=0, description="Provider calls per minute and key, over all workers; 0 is no limit"
        ),
    ] = 180.0
    fallback_after_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=86_400,
            description="Seconds for which failing calls of a model are held before its jobs with "
            "`fallback_models` change to another model",
        ),
    ] = 60.0
    models_check_seconds: Annotated[
        int,
        Field(
            ge=0,
            description="Seconds between two checks of the models that 1min.ai lists; 0: never",
        ),
    ] = 3600
    # before the settings that name models
    models_file: Annotated[
        str,
        Field(
            description="YAML file that adds models, or replaces shipped ones by id "
            "(docs/models.md); empty: the shipped models"
        ),
    ] = ""
    credits_per_image: Annotated[
        Prices,
        Field(
            description="Estimated credits per call: model=credits,…; 1min.ai publishes no prices. "
            "They take precedence over those of the model's definition"
        ),
    ] = {}
    download_timeout_seconds: Annotated[
        Timeout, Field(description="Longest time for one image download, in seconds")
    ] = 30.0
    image_settle_seconds: Annotated[
        float,
        Field(
            ge=0,
            description="Seconds after the answer during which a missing (403, 404) or damaged "
            "image is downloaded again",
        ),
    ] = 60.0
    image_max_bytes: Annotated[
        int, Field(gt=0, description="Largest image that is accepted, in bytes")
    ] = 50_000_000
    image_max_pixels: Annotated[
        int, Field(gt=0, description="Largest image that is accepted, in pixels")
    ] = 40_000_000

    # outgoing connections
    egress_proxy: Annotated[
        SecretStr,
        Field(
            description="Forward proxy for 1min.ai, image hosts, the storage and webhooks: "
            "http://user:password@host:port; it must allow CONNECT"
        ),
    ] = SecretStr("")
    egress_proxy_direct_hosts: Annotated[
        CommaSeparated,
        Field(description="Hosts that are reached without the proxy; .name includes subdomains"),
    ] = ()
    egress_proxy_trusted: Annotated[
        bool,
        Field(
            description="The proxy resolves the hosts of images and webhooks and refuses private "
            "addresses; otherwise Darkroom does both, and gives the proxy the address"
        ),
    ] = False
    ca_bundle: Annotated[
        str,
        Field(
            description="PEM file of certificate authorities to trust besides the public ones, for "
            "1min.ai, image hosts, the storage and webhooks"
        ),
    ] = ""

    # the object storage
    s3_secure: Annotated[
        bool, Field(description="Use TLS for the storage; an endpoint with https:// does so too")
    ] = False
    s3_endpoint: Annotated[
        str, Field(description="host:port or http(s):// URL of the S3-compatible storage")
    ] = "127.0.0.1:9000"
    s3_public_endpoint: Annotated[
        str,
        Field(
            description="host:port or http(s):// URL at which clients reach the storage, used in "
            "the URLs of ?redirect=1; empty: DARKROOM_S3_ENDPOINT"
        ),
    ] = ""
    s3_credentials: Annotated[
        Literal["keys", "aws"],
        Field(
            description="keys: the two settings below; aws: the first credentials found in the "
            "environment, a web identity, ~/.aws/credentials, or the role of the container or "
            "instance; Darkroom renews them before they expire"
        ),
    ] = "keys"
    s3_access_key: Annotated[SecretStr, Field(description="S3 access key")] = SecretStr("")
    s3_secret_key: Annotated[SecretStr, Field(description="S3 secret key")] = SecretStr("")
    s3_bucket: Annotated[str, Field(description="Bucket for images; it must exist")] = "darkroom"
    s3_prefix: Annotated[
        str, Field(description="Path in the bucket below which images are stored; empty: none")
    ] = ""
    s3_kms_key_id: Annotated[
        str, Field(description="Id or ARN of the key for DARKROOM_S3_ENCRYPTION=aws:kms")
    ] = ""
    s3_encryption: Annotated[
        Literal["", "AES256", "aws:kms"],
        Field(
            description="Server-side encryption that each image is stored with; empty: what the "
            "bucket does by itself"
        ),
    ] = ""
    s3_tags: Annotated[
        bool, Field(description="Give each image the object tags `tenant` and `job`")
    ] = False
    s3_region: Annotated[str, Field(pattern=_REGION, description="Region of the bucket")] = (
        "us-east-1"
    )
    storage_timeout_seconds: Annotated[
        Timeout, Field(description="Longest time for one storage operation, in seconds")
    ] = 20.0
    storage_read_back: Annotated[
        bool,
        Field(description="Read each stored image back and compare it; one more GET per image"),
    ] = False

    # the API
    public_url: Annotated[str, Field(description="URL at which clients reach this service")] = (
        "http://127.0.0.1:8000"
    )
    image_base_url: Annotated[
        str,
        Field(
            description="URL with which image URLs begin if a CDN is in front of this service "
            "(https://cdn.example.com), or the URL of an object of a public bucket with {key} in "
            "it (https://images.example.com/{key}); empty: DARKROOM_PUBLIC_URL"
        ),
    ] = ""
    image_url_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=31_536_000,
            description="Shortest time for which an image URL is valid, in seconds (the longest is "
            "twice as long); 0: as long as the image is kept",
        ),
    ] = 0
    max_queue: Annotated[
        int,
        Field(
            gt=0, description="Maximum number of queued jobs of all tenants; further ones get 503"
        ),
    ] = 1_000_000
    max_body_bytes: Annotated[int, Field(gt=0, description="Largest request body, in bytes")] = (
        1_000_000
    )
    max_batch_bytes: Annotated[
        int, Field(gt=0, description="Largest request body of a batch, in bytes")
    ] = 32_000_000
    max_held_bytes: Annotated[
        int,
        Field(gt=0, description="Memory of one API process for request bodies, in bytes"),
    ] = 256_000_000
    max_tenant_held_bytes: Annotated[
        int,
        Field(
            gt=0,
            description="Memory of one API process for the request bodies of one tenant, in bytes; "
            "further requests get 503",
        ),
    ] = 64_000_000
    cors_origins: Annotated[
        CommaSeparated,
        Field(description="Origins of web pages that may use the API: https://app.example,…; or *"),
    ] = ()

    # clients of other services' APIs
    openai_wait_seconds: Annotated[
        Timeout,
        Field(description="Seconds for which a request of an OpenAI client waits for its images"),
    ] = 300.0
    openai_models: Annotated[
        CommaSeparated,
        Field(description="Model names for OpenAI clients: dall-e-3=OWNER/NAME,…"),
    ] = ()

    auth_failures_per_minute: Annotated[
        int,
        Field(
            gt=0,
            description="Failed authentications per client IP and minute; further ones get 429",
        ),
    ] = 20

    # the life of a job
    concurrency: Annotated[
        int,
        Field(gt=0, le=CONCURRENCY_MOST, description="Jobs that one worker process runs at once"),
    ] = 64
    max_attempts: Annotated[int, Field(gt=0, le=50, description="Attempts before a job fails")] = 5
    lease_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=3600,
            description="Seconds after which the jobs of an unresponsive worker go to others",
        ),
    ] = 15.0
    on_unknown: Annotated[
        Literal["retry", "fail"],
        Field(description="What to do when a call may or may not have been billed: retry or fail"),
    ] = "retry"
    deadline_seconds: Annotated[
        Period, Field(description="Deadline of a job that names none, in seconds")
    ] = 86_400

    # the history: final jobs, in SQL
    history_url: Annotated[
        str,
        Field(
            repr=False,
            description="Database that final jobs move to: postgresql://user:password@host/name, "
            "or sqlite:////absolute/path on one machine; empty: none",
        ),
    ] = ""
    history_timeout_seconds: Annotated[
        Timeout, Field(description="Longest time for one query of the history, in seconds")
    ] = 5.0
    archive_after_seconds: Annotated[
        Period,
        Field(
            ge=ARCHIVE_SECONDS_MIN,
            description="Seconds after which a final job moves to the history, when its webhooks "
            "are settled",
        ),
    ] = 86_400
    record_retention_seconds: Annotated[
        Retention,
        Field(
            description="Seconds for which a final job is kept, unless the job or its tenant has a "
            "value of its own; 0: forever, or without a history for seven days"
        ),
    ] = 0
    image_retention_seconds: Annotated[
        Retention,
        Field(
            description="Seconds for which an image is kept, at most as long as its job, unless "
            "the job or its tenant has a value of its own; 0: as long as the job"
        ),
    ] = 0

    # webhooks
    webhook_schedule: Annotated[
        Numbers, Field(description="Seconds to wait before each delivery attempt; the first is 0")
    ] = (0, 5, 30, 120, 600, 3_600, 10_800, 28_800, 86_400)
    webhook_timeout_seconds: Annotated[
        Timeout, Field(description="Longest time for one delivery attempt, in seconds")
    ] = 15.0
    webhook_allow_hosts: Annotated[
        CommaSeparated,
        Field(description="Webhook hosts that may have private or loopback addresses"),
    ] = ()
    webhook_ports: Annotated[
        CommaSeparated,
        Field(description="Allowed ports of all other webhook hosts; ranges as first-last"),
    ] = ("80", "443", "1024-65535")
    webhook_max_per_host: Annotated[
        int, Field(gt=0, description="Concurrent deliveries to one host, of all tenants")
    ] = 8
    key_notice_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds before an API key expires at which standing endpoints get "
            "`key.expiring`",
        ),
    ] = 604_800
    queue_delayed_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds that the oldest job which could run may wait before operators' "
            "endpoints get `queue.delayed`",
        ),
    ] = 600
    notify_after_seconds: Annotated[
        float,
        Field(
            ge=0,
            description="Seconds for which a condition must last before operators' endpoints get "
            "its event, and be over before they get the event of its end",
        ),
    ] = 60
    webhook_disable_after_seconds: Annotated[
        float,
        Field(
            gt=0, description="Seconds without a success after which a failing endpoint is disabled"
        ),
    ] = 432_000

    # operators by name
    ops_auth_header: Annotated[
        str,
        Field(
            description="Header in which an authenticating proxy names the person, such as "
            "X-Forwarded-Email; empty: operators use keys only"
        ),
    ] = ""
    ops_auth_groups_header: Annotated[
        str, Field(description="Header with the person's groups, separated by commas; empty: none")
    ] = ""
    ops_auth_proxies: Annotated[
        CommaSeparated,
        Field(description="Addresses or networks of the proxies whose header is trusted"),
    ] = ()
    ops_auth_scopes: Annotated[
        CommaSeparated,
        Field(
            description="Scopes of people: group:NAME=ops:read or ops:write, user:NAME=…; "
            "ops:write includes ops:read"
        ),
    ] = ()

    # logs, metrics and traces
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Field(description="Log format; auto is console on a terminal and json elsewhere"),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="Lowest level that is logged"),
    ] = "info"
    audit_log: Annotated[
        bool,
        Field(
            description="Let workers log each entry of the audit log, as `audit recorded`; the "
            "same for all workers"
        ),
    ] = False
    log_prompts: Annotated[
        bool, Field(description="Log the prompt of each job that a worker claims")
    ] = False
    otlp_endpoint: Annotated[
        str,
        Field(
            description="OTLP endpoint for traces, such as http://collector:4318; empty: no tracing"
        ),
    ] = ""
    otlp_headers: Annotated[
        SecretStr, Field(description="Headers for the OTLP endpoint: name=value,name=value")
    ] = SecretStr("")
    trace_sample_ratio: Annotated[
        float,
        Field(ge=0, le=1, description="Share of the traces started here that are sampled, 0 to 1"),
    ] = 1.0
    metrics_host: Annotated[str, Field(description="Address on which a worker serves /metrics")] = (
        "127.0.0.1"
    )
    metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port on which a worker serves /metrics; 0: none")
    ] = 0

    @field_validator("*", mode="before")
    @classmethod
    def _trimmed(cls, value: object) -> object:
        """Remove what editors and terminals add around a value."""
        if isinstance(value, Unreadable):
            raise ValueError(value.reason)  # noqa: TRY004  pydantic reports ValueError
        return setting_values.plain(value) if isinstance(value, str) else value

    @field_validator("on_unknown", "log_format", "log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator(
        "onemin_image_hosts",
        "onemin_allow_private_hosts",
        "egress_proxy_direct_hosts",
        "openai_models",
        "webhook_allow_hosts",
        "webhook_ports",
        "webhook_schedule",
        "cors_origins",
        "ops_auth_proxies",
        "ops_auth_scopes",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return _split_commas(value) if isinstance(value, str) else value

    @field_validator("credits_per_image", mode="before")
    @classmethod
    def _prices(cls, value: object, about: ValidationInfo) -> object:
        return read_prices(value, _models_of(about)) if isinstance(value, str) else value

    @field_validator("models_file")
    @classmethod
    def _models(cls, value: str) -> str:
        load_catalog(value)
        return value

    @field_validator("max_held_bytes", "max_tenant_held_bytes")
    @classmethod
    def _holds_the_largest(cls, value: int, about: ValidationInfo) -> int:
        largest = max(about.data.get(name, 0) for name in ("max_body_bytes", "max_batch_bytes"))
        if value < largest:
            raise ValueError(
                f"must be at least {largest}, the larger of {PREFIX}MAX_BODY_BYTES and "
                f"{PREFIX}MAX_BATCH_BYTES"
            )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_origin, value))

    @field_validator("webhook_schedule")
    @classmethod
    def _schedule(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or min(value) < 0 or max(value) > WAIT_SECONDS_MAX:
            raise ValueError("needs at least one wait, each from 0 to 31536000 seconds")
        if value[0] != 0:
            raise ValueError("must begin with 0: the first attempt is made at once")
        return value

    @field_validator("openai_models")
    @classmethod
    def _aliases(cls, value: tuple[str, ...], about: ValidationInfo) -> tuple[str, ...]:
        named, models = _named_values(",".join(value)), _models_of(about)
        known = named.values() if models is None else models
        if not all(name and model in known for name, model in named.items()):
            raise ValueError(f"needs alias=model, where model is one of {', '.join(known)}")
        if len(named) < len(value):
            raise ValueError("it names an alias twice")
        return tuple(f"{name}={model}" for name, model in named.items())

    @field_validator("webhook_ports")
    @classmethod
    def _ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            _port_range(entry)
        return value

    @field_validator(
        "onemin_image_hosts",
        "onemin_allow_private_hosts",
        "egress_proxy_direct_hosts",
        "webhook_allow_hosts",
    )
    @classmethod
    def _hosts(cls, value: tuple[str, ...], about: ValidationInfo) -> tuple[str, ...]:
        if about.field_name == "onemin_image_hosts" and not value:
            raise ValueError("it needs at least one host; without one no image can be downloaded")
        return setting_values.host_list(value)

    @field_validator("onemin_base_url", "public_url", "image_base_url", "otlp_endpoint")
    @classmethod
    def _address(cls, value: str, about: ValidationInfo) -> str:
        if about.field_name in {"image_base_url", "otlp_endpoint"} and not value:
            return value
        if about.field_name == "image_base_url" and setting_values.OBJECT_KEY in value:
            return setting_values.object_address(value)
        path = {"onemin_base_url": _ONEMIN_PATH, "otlp_endpoint": _OTLP_PATH}
        return setting_values.web_address(value, without=path.get(str(about.field_name), ""))

    @field_validator("egress_proxy")
    @classmethod
    def _proxy(cls, value: SecretStr) -> SecretStr:
        written = value.get_secret_value()
        return SecretStr(setting_values.proxy_address(written)) if written else value

    @field_validator("ca_bundle")
    @classmethod
    def _authorities(cls, value: str) -> str:
        return setting_values.authorities_file(value) if value else value

    @field_validator("s3_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return setting_values.key_prefix(value) if value.strip("/") else ""

    @field_validator("s3_encryption")
    @classmethod
    def _encryption(cls, value: str, about: ValidationInfo) -> str:
        if value == "aws:kms":
            if not about.data.get("s3_kms_key_id"):
                raise ValueError(f"aws:kms needs {PREFIX}S3_KMS_KEY_ID")
            if not about.data.get("s3_secure", True):
                raise ValueError("aws:kms needs TLS: write https:// before the storage's host")
        return value

    @field_validator("metrics_host")
    @classmethod
    def _metrics_host(cls, value: str) -> str:
        return setting_values.only_host(value)

    @field_validator("onemin_auth_header", "ops_auth_header", "ops_auth_groups_header")
    @classmethod
    def _header(cls, value: str, about: ValidationInfo) -> str:
        if not value and about.field_name != "onemin_auth_header":
            return value
        return setting_values.header_name(value)

    @field_validator("ops_auth_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...], about: ValidationInfo) -> tuple[str, ...]:
        if about.data.get("ops_auth_header") and not value:
            raise ValueError(f"{PREFIX}OPS_AUTH_HEADER needs the addresses that may send it")
        setting_values.networks(value)
        return value

    @field_validator("ops_auth_scopes")
    @classmethod
    def _rights(cls, value: tuple[str, ...], about: ValidationInfo) -> tuple[str, ...]:
        if about.data.get("ops_auth_header") and not value:
            raise ValueError(f"{PREFIX}OPS_AUTH_HEADER needs a person or group with a scope")
        setting_values.rights(value)
        return value

    @field_validator("onemin_api_key", "s3_access_key", "s3_secret_key")
    @classmethod
    def _keys(cls, value: SecretStr, about: ValidationInfo) -> SecretStr:
        written = value.get_secret_value()
        keys = _split_commas(written) if about.field_name == "onemin_api_key" else (written,)
        setting_values.check_keys(keys)
        if about.field_name == "onemin_api_key":
            for key in keys:
                read_key(key)
        return value

    @field_validator("seal_keys")
    @classmethod
    def _seal_keys(cls, value: SecretStr) -> SecretStr:
        setting_values.check_seal_keys(_split_commas(value.get_secret_value()))
        return value

    @field_validator("otlp_headers")
    @classmethod
    def _headers(cls, value: SecretStr) -> SecretStr:
        setting_values.header_values(_named_values(value.get_secret_value()))
        return value

    @field_validator("s3_bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value) or ".." in value:
            raise ValueError(
                "must have 3 to 63 of A-Z a-z 0-9 . _ - and begin and end with a letter or digit"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _tls_of_the_endpoint(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Derive TLS from the scheme of the storage URL, if it has one."""
        endpoint = data.get("s3_endpoint")
        secure = None
        if isinstance(endpoint, str):
            secure = setting_values.tls_of(setting_values.trimmed(endpoint))
        return data if secure is None else {"s3_secure": secure, **data}

    @field_validator("s3_endpoint")
    @classmethod
    def _endpoint(cls, value: str, about: ValidationInfo) -> str:
        secure = setting_values.tls_of(value)
        if secure is not None and about.data.get("s3_secure", secure) != secure:
            scheme, other = ("https", "false") if secure else ("http", "true")
            raise ValueError(f"it begins with {scheme}://, but {PREFIX}S3_SECURE is {other}")
        return setting_values.storage_address(value)

    @field_validator("s3_public_endpoint")
    @classmethod
    def _public_endpoint(cls, value: str, about: ValidationInfo) -> str:
        """Return the URL; where it has no scheme, `s3_secure` decides."""
        if not value:
            return value
        stated = setting_values.tls_of(value)
        secure = about.data.get("s3_secure", False) if stated is None else stated
        return f"{'https' if secure else 'http'}://{setting_values.storage_address(value)}"

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: str) -> str:
        return setting_values.redis_address(value)

    @field_validator("history_url")
    @classmethod
    def _history_address(cls, value: str) -> str:
        return setting_values.database_address(value) if value else value

    @property
    def record_seconds(self) -> int:
        """How long a final job is kept if neither it nor its tenant says; 0 is forever."""
        without = 0 if self.history_url else _KEPT_WITHOUT_HISTORY_SECONDS
        return self.record_retention_seconds or without

    @property
    def seconds_until_archived(self) -> int:
        """How long a final job stays in Redis before it moves to the history; 0: no history."""
        return self.archive_after_seconds if self.history_url else 0

    @cached_property
    def models(self) -> Catalog:
        """The models that can be generated, by id."""
        return load_catalog(self.models_file)

    @cached_property
    def prices(self) -> Mapping[str, float]:
        """The estimated credits of a call by model, where there is a price."""
        defined = {
            name: model.credits for name, model in self.models.items() if model.credits is not None
        }
        return {**defined, **self.credits_per_image}

    @cached_property
    def model_prices(self) -> Mapping[str, float | None]:
        """The estimated credits of a call of each model; None without a price."""
        return {name: self.prices.get(name) for name in self.models}

    @cached_property
    def public_prefix(self) -> str:
        """The path prefix that a proxy strips; often empty."""
        return urlsplit(self.public_url).path

    @cached_property
    def ops_auth_networks(self) -> tuple[setting_values.Network, ...]:
        """The networks of the proxies that may name a person."""
        return setting_values.networks(self.ops_auth_proxies)

    @cached_property
    def ops_auth_rights(self) -> Mapping[str, tuple[Scope, ...]]:
        """The scopes by `user:NAME` and `group:NAME`."""
        return setting_values.rights(self.ops_auth_scopes)

    @property
    def onemin_keys(self) -> tuple[ProviderKey, ...]:
        """The pool of provider keys."""
        keys = map(read_key, _split_commas(self.onemin_api_key.get_secret_value()))
        return tuple({key.id: key for key in keys}.values())

    @property
    def seal_key_texts(self) -> tuple[str, ...]:
        """The seal keys, the one that seals first."""
        return _split_commas(self.seal_keys.get_secret_value())

    @property
    def otlp_header_values(self) -> dict[str, str]:
        """The headers for the trace collector."""
        return _named_values(self.otlp_headers.get_secret_value())

    @property
    def openai_aliases(self) -> dict[str, str]:
        """The model of each alias that OpenAI clients may use."""
        named = (entry.partition("=") for entry in self.openai_models)
        return {name: model for name, _, model in named}

    @cached_property
    def webhook_port_ranges(self) -> tuple[range, ...]:
        """The ports that webhook endpoints may have."""
        return tuple(map(_port_range, self.webhook_ports))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the name is the library's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment with the files that it names."""
        return init_settings, EnvironmentSource(settings_cls)


def load_settings(*needed: str, **values: object) -> Settings:
    """Read the settings from the environment; `values` take precedence, `needed` must be set.

    Raise InvalidSettings with one sentence per fault.
    """
    try:
        settings = Settings(**values)  # type: ignore[arg-type]  # checked by the model, at run time
    except ValidationError as error:
        sentences = dict.fromkeys(one for fault in error.errors() for one in _sentences(fault))
        needed = _required(needed, lambda name: _read_value(name, values))
        absent = [_absence(name) for name in needed if not _read_value(name, values)]
        raise InvalidSettings("\n".join((*sentences, *absent))) from None
    require(settings, *needed)
    return settings


def _read_value(name: str, values: Mapping[str, object]) -> object:
    """Return what a setting was given, valid or not: the value, or the path of its file."""
    variable, environment = f"{PREFIX}{name.upper()}", inherited_environment()
    return values.get(name) or environment.get(variable) or environment.get(f"{variable}_FILE")


def _required(names: tuple[str, ...], read: Callable[[str], object]) -> tuple[str, ...]:
    """Return the names without those that another setting, as `read`, makes unnecessary.

    AWS' credentials are found elsewhere; with a seal key, provider keys may be stored in Redis.
    """
    spared = {*S3_KEYS} if read("s3_credentials") == _OF_AWS else set()
    if _has_value(read("seal_keys")):
        spared.add("onemin_api_key")
    return tuple(name for name in names if name not in spared)


def _absence(name: str) -> str:
    return f"{PREFIX}{name.upper()} is missing."


_NOT_A_NUMBER: Mapping[str, str] = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
}


def _sentences(fault: Mapping[str, Any]) -> list[str]:
    name = f"{PREFIX}{str(fault['loc'][0]).upper()}"
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, BadCatalog):
        return [f"{name} is not usable: {reason}." for reason in error.sentences]
    reason = _NOT_A_NUMBER.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    return [f"{name} is not usable: {reason}."]


def misspelt() -> dict[str, str]:
    """Return environment variables that are not settings, each with the setting it resembles.

    Others are ignored: client programs have variables of their own, and Kubernetes adds some for
    each service.
    """
    names = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    names |= {f"{name}_FILE" for name in names}
    strange = sorted(name for name in inherited_environment() if name.startswith(PREFIX))
    renamed = {
        f"{PREFIX}{old}{end}": f"{PREFIX}{new}{end}"
        for old, new in _RENAMED.items()
        for end in ("", "_FILE")
    }
    alike = {
        name: [renamed[name]]
        if name in renamed
        else get_close_matches(name, names, n=1, cutoff=_ALIKE)
        for name in strange
        if name not in names
    }
    return {name: meant[0] for name, meant in alike.items() if meant}


def require(settings: Settings, *names: str) -> None:
    """Check that each named setting is set; raise InvalidSettings with a sentence for each."""
    faults = missing(settings, *names)
    if faults:
        raise InvalidSettings("\n".join(faults))


def missing(settings: Settings, *names: str) -> list[str]:
    """Return a sentence for each of the named settings that is not set."""
    required = _required(names, lambda name: getattr(settings, name))
    without = [name for name in required if not _has_value(getattr(settings, name))]
    return [_absence(name) for name in without]


def _has_value(value: object) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def inherited_environment() -> dict[str, str]:
    """Return the environment of this process, for starting others."""
    return dict(os.environ)  # noqa: TID251  the one reader


def example() -> str:
    """Write `.env.example`: every setting with its description and its default."""
    entries = [
        f"# {info.description}\n# {PREFIX}{name.upper()}={_written(info.default)}\n"
        for name, info in Settings.model_fields.items()
    ]
    return "\n".join((_EXAMPLE_HEAD, *entries))


_EXAMPLE_HEAD = """\
# Every setting of Darkroom with its default. Remove the leading # to change one.
# Each can also be given as NAME_FILE=/path/of/a/file that holds the value.
# The file is read if NAME is empty or not set.
# Written by: python -m shared.settings > .env.example
"""


def _written(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)


if __name__ == "__main__":
    sys.stdout.write(example())
