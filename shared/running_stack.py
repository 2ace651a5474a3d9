"""The settings of a stack started by `darkroom up` on this machine, from its stack.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import InvalidSettings
from shared.settings import PREFIX, Settings, inherited_environment, load_settings

#: Where `darkroom up` writes it by default.
STACK = Path(".darkroom/stack.json")


def load_operator_settings(stack: Path | None = None) -> Settings:
    """Load the settings of a command run by an operator.

    `stack` takes precedence over the environment. Without it, the environment is used if it names a
    Redis, else the stack of DARKROOM_STACK, else one running in this folder. Raise InvalidSettings.
    """
    found = stack or _stack_here()
    return load_settings(**_settings_of(found) if found else {})


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
        "s3_secure": False,
    }
    if "//127.0.0.1:" in manifest["provider_url"]:
        settings |= {"onemin_base_url": manifest["provider_url"], "onemin_api_key": "sandbox"}
    return settings
