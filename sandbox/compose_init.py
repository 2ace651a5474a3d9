"""Create what a first start on Docker needs: storage keys, a tenant, the provider's URL.

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

#: The name of the sandbox provider in docker-compose.yml, and its address.
SANDBOX_HOST = "provider"
SANDBOX_URL = f"http://{SANDBOX_HOST}:8081"
#: Nobody but the service's own user, and root, may read them.
_MODE = 0o400


def first_start(
    directory: Path, settings: Settings, provision_tenant: Callable[[str], TenantKeys]
) -> str:
    """Write what is missing into `directory`; gives a sentence for whoever started it.

    Raises OSError where the directory cannot be written, and what `open_tenant` raises.
    """
    # as long as AWS makes them: some servers refuse shorter ones
    _write_once(directory / "s3_access_key", lambda: secrets.token_hex(10).upper())
    _write_once(directory / "s3_secret_key", lambda: secrets.token_hex(20))
    for name, value in _provider(settings).items():
        _write(directory / name, value)
    if not _is_complete(directory / "api_key"):
        tenant = asdict(provision_tenant(settings.redis_url))
        for name in ("tenant", "ops_key", "webhook_secret", "api_key"):
            _write(directory / name, tenant[name])
    makes = "1min.ai makes the pictures" if settings.onemin_keys else "the sandbox makes them"
    return f"ready: {makes}; the tenant's key is in {directory / 'api_key'}"


def _provider(settings: Settings) -> Mapping[str, str]:
    """Give the settings that say who is asked: 1min.ai where there is a key for it."""
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


def _write_once(path: Path, make: Callable[[], str]) -> None:
    if not _is_complete(path):
        _write(path, make())


def _is_complete(path: Path) -> bool:
    """Tell whether a value is there: a power loss may leave a file empty, or zeros in it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return bool(content) and b"\0" not in content


def _write(path: Path, value: str) -> None:
    """Write a whole file or none: a start that is cut off leaves no half of a key."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=_MODE | 0o200)
    draft.write_text(value, encoding="utf-8")
    draft.chmod(_MODE)
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def run(directory: Annotated[Path, cyclopts.Parameter(name="--directory")]) -> None:
    """Do it with the settings of the environment; leaves with a sentence where it cannot."""
    import redis  # noqa: PLC0415  0.3 s that whoever imports this module for its names need not pay

    try:
        # compose goes on to serve others: its tenant may what any new one may
        opened = partial(open_local_tenant, may_disable_safety=False)
        print(first_start(directory, load_settings(), opened))  # noqa: T201  for the log
    except InvalidSettings as error:
        sys.stderr.write(f"The first start did not succeed.\n{error}\n")
        sys.exit(2)
    except (DarkroomError, OSError, redis.RedisError) as error:
        sys.exit(f"The first start did not succeed: {error}")


if __name__ == "__main__":
    cyclopts.run(run)
