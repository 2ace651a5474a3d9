"""Create what a first start on Docker needs: keys, a password, a tenant, the provider's URL.

`python -m sandbox.compose_init` is the `init` service of docker-compose.yml. It writes each value
to a file in a volume that the other services read (`DARKROOM_…_FILE`). A second run keeps existing
files, except for the provider's, which follow `DARKROOM_ONEMIN_API_KEY` each time.
"""

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import cyclopts

from sandbox.devstack.directory import sync
from sandbox.devstack.keys import TenantKeys
from sandbox.devstack.plan import SANDBOX_KEY
from sandbox.devstack.tenant import open_local_tenant
from shared.errors import DarkroomError, InvalidSettings
from shared.settings import Settings, load_settings

#: The name of the sandbox provider in docker-compose.yml, and its URL.
SANDBOX_HOST = "provider"
SANDBOX_URL = f"http://{SANDBOX_HOST}:8081"
#: The address of the history's database in docker-compose.yml.
HISTORY_URL = "postgresql://darkroom:{password}@postgres:5432/darkroom"
#: Readable only by the service's user and root.
_MODE = 0o400


def first_start(
    directory: Path, settings: Settings, provision_tenant: Callable[[str], TenantKeys]
) -> str:
    """Write what is missing into `directory`; return a sentence for the user.

    Raise OSError if the directory is not writable, and what `provision_tenant` raises.
    """
    # as long as AWS makes them: some servers refuse shorter ones
    _write_once(directory / "s3_access_key", lambda: secrets.token_hex(10).upper())
    _write_once(directory / "s3_secret_key", lambda: secrets.token_hex(20))
    password = _write_once(directory / "postgres_password", lambda: secrets.token_hex(20))
    _write(directory / "history_url", HISTORY_URL.format(password=password))
    for name, value in _provider(settings).items():
        _write(directory / name, value)
    if not _is_complete(directory / "api_key"):
        tenant = asdict(provision_tenant(settings.redis_url))
        for name in ("tenant", "ops_key", "webhook_secret", "api_key"):
            _write(directory / name, tenant[name])
    makes = "1min.ai makes the images" if settings.onemin_keys else "the sandbox makes them"
    return f"ready: {makes}; the tenant's key is in {directory / 'api_key'}"


def _provider(settings: Settings) -> Mapping[str, str]:
    """Return the provider's settings: 1min.ai if there is a key for it."""
    if settings.onemin_keys:
        return {
            "onemin_api_key": settings.onemin_api_key.get_secret_value(),
            "onemin_base_url": settings.onemin_base_url,
            "onemin_image_hosts": ",".join(settings.onemin_image_hosts),
            "onemin_allow_private_hosts": ",".join(settings.onemin_allow_private_hosts),
            "provider_rate_per_minute": f"{settings.provider_rate_per_minute:g}",
        }
    return {
        "onemin_api_key": SANDBOX_KEY,
        "onemin_base_url": SANDBOX_URL,
        "onemin_image_hosts": SANDBOX_HOST,
        "onemin_allow_private_hosts": SANDBOX_HOST,
        "provider_rate_per_minute": "0",
    }


def _write_once(path: Path, make: Callable[[], str]) -> str:
    """Write a file unless it is complete; return its content."""
    if not _is_complete(path):
        _write(path, make())
    return path.read_text(encoding="utf-8")


def _is_complete(path: Path) -> bool:
    """Return whether a value is complete: a power loss may leave a file empty or zeroed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return bool(content) and b"\0" not in content


def _write(path: Path, value: str) -> None:
    """Write a file atomically, so that an interrupted start leaves no partial key."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=_MODE | 0o200)
    draft.write_text(value, encoding="utf-8")
    draft.chmod(_MODE)
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def run(directory: Annotated[Path, cyclopts.Parameter(name="--directory")]) -> None:
    """Run with the settings of the environment; exit with a sentence on failure."""
    import redis  # noqa: PLC0415  0.3 s that whoever imports this module for its names need not pay

    try:
        # compose serves others: its tenant has the limits of any new one
        opened = partial(open_local_tenant, may_disable_safety=False)
        print(first_start(directory, load_settings(), opened))  # noqa: T201  for the log
    except InvalidSettings as error:
        sys.stderr.write(f"The first start did not succeed.\n{error}\n")
        sys.exit(2)
    except (DarkroomError, OSError, redis.RedisError) as error:
        sys.exit(f"The first start did not succeed: {error}")


if __name__ == "__main__":
    cyclopts.run(run)
