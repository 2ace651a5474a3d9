"""The settings of a stack started by `darkroom up` on this machine, from its stack.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import InvalidSettings
from shared.settings import PREFIX, Settings, inherited_environment, load_settings

#: Where `darkroom up` writes it by default.
STACK = Path(".darkroom/stack.json")
#: What its servers need, whatever the environment says of other servers.
SERVER_SETTINGS: Mapping[str, str] = {
    "redis_replicas": "0",
    "s3_credentials": "keys",
    "s3_encryption": "",
    "s3_secure": "false",
}
#: The header in which its sandbox reads the key.
SANDBOX_AUTH_HEADER = "API-KEY"
#: The names of this machine; a proxy elsewhere cannot reach it by them.
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def load_operator_settings(stack: Path | None = None) -> Settings:
    """Load the settings of a command run by an operator.

    `stack` takes precedence over the environment. Without it, the environment is used if it names a
    Redis, else the stack of DARKROOM_STACK, else one running in this folder. Raise InvalidSettings.
    """
    found = stack or _stack_here()
    if found is None:
        return load_settings()
    settings = load_settings(**_settings_of(found))
    return settings.model_copy(update={"egress_proxy_direct_hosts": direct_hosts(settings)})


def direct_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the hosts that a stack on this machine reaches without the egress proxy."""
    return (*settings.egress_proxy_direct_hosts, *LOOPBACK_HOSTS)


def _stack_here() -> Path | None:
    environment = inherited_environment()
    if environment.keys() & {f"{PREFIX}REDIS_URL", f"{PREFIX}REDIS_URL_FILE"}:
        return None
    named = environment.get(f"{PREFIX}STACK", "").strip()
    if named:
        return Path(named)
    return STACK if STACK.exists() else None


def _settings_of(path: Path) -> dict[str, Any]:
    try:
        return _read(json.loads(path.read_bytes()))
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, KeyError, TypeError):
        reason = "it is not what `darkroom up` wrote"
    raise InvalidSettings(
        f"{path} cannot be read ({reason}). Start `darkroom up`, which writes it."
    )


def _read(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a stack on this machine; its sandbox accepts any key."""
    s3 = manifest["s3"]
    settings = {
        "redis_url": manifest["redis_url"],
        "history_url": manifest.get("history_url") or "",
        "public_url": manifest["api"],
        "s3_endpoint": s3["endpoint"],
        "s3_bucket": s3["bucket"],
        "s3_access_key": s3["access_key"],
        "s3_secret_key": s3["secret_key"],
        **SERVER_SETTINGS,
    }
    if "//127.0.0.1:" in manifest["provider_url"]:
        settings |= {
            "onemin_base_url": manifest["provider_url"],
            "onemin_api_key": "sandbox",
            "onemin_auth_header": SANDBOX_AUTH_HEADER,
        }
    return settings
