"""Create what a first start on Docker needs: keys, a password, a tenant, the provider's URL.

`python -m sandbox.compose_init create` is the service `init` of docker-compose.yml. It writes each
value to a file in a volume that the other services read (`DARKROOM_…_FILE`). A second run keeps
existing files, except for the provider's, which follow the key for 1min.ai each time.

`… check-provider` is the service of that name. Only it fails without a provider: the API starts,
and accepts jobs, whatever is wrong with the key.
"""

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

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
#: The files that make the services use the sandbox.
SANDBOX_FILES: Mapping[str, str] = {
    "onemin_api_key": SANDBOX_KEY,
    "onemin_base_url": SANDBOX_URL,
    "onemin_image_hosts": SANDBOX_HOST,
    "onemin_allow_private_hosts": SANDBOX_HOST,
    "provider_rate_per_minute": "0",
}
#: Where the containers have the key file of docker-compose.yml.
_SECRET = Path("/run/secrets/onemin_api_key")
#: Readable only by the service's user and root.
_MODE = 0o400


@dataclass(frozen=True, slots=True)
class Choice:
    """What an operator chose in .env.

    `key_file` names the file with the key for 1min.ai on the operator's machine; empty: none.
    """

    sandbox: bool = True
    key_file: str = ""


def first_start(
    directory: Path,
    settings: Settings,
    provider: Mapping[str, str],
    provision_tenant: Callable[[str], TenantKeys],
) -> None:
    """Write what is missing into `directory`, and the files of the provider.

    Raise OSError if the directory is not writable, and what `provision_tenant` raises.
    """
    # as long as AWS makes them: some servers refuse shorter ones
    _write_once(directory / "s3_access_key", lambda: secrets.token_hex(10).upper())
    _write_once(directory / "s3_secret_key", lambda: secrets.token_hex(20))
    _write_once(directory / "seal_keys", lambda: secrets.token_hex(32))
    password = _write_once(directory / "postgres_password", lambda: secrets.token_hex(20))
    _write(directory / "history_url", HISTORY_URL.format(password=password))
    for name, value in provider.items():
        _write(directory / name, value)
    if not _is_complete(directory / "api_key"):
        tenant = asdict(provision_tenant(settings.redis_url))
        for name in ("tenant", "ops_key", "webhook_secret", "api_key"):
            _write(directory / name, tenant[name])


def choose_provider(settings: Settings, choice: Choice, secret: Path) -> Mapping[str, str]:
    """Return the files of the provider: 1min.ai if there is a key for it, else the sandbox.

    `secret` is where the container has the file that `choice` names. Raise InvalidSettings with a
    sentence for the operator if that file holds no key, or if nothing can make images.
    """
    if settings.onemin_keys:
        return provider_files(settings)
    if choice.key_file:
        return provider_files(load_settings(onemin_api_key=_read_key(secret, choice.key_file)))
    if not choice.sandbox:
        raise InvalidSettings(
            "Nothing can make images: DARKROOM_SANDBOX=0 leaves the sandbox out, and there is no "
            "key for 1min.ai. Name its file in .env (DARKROOM_ONEMIN_API_KEY_FILE=./onemin.key), "
            "or remove DARKROOM_SANDBOX=0."
        )
    return SANDBOX_FILES


def _read_key(secret: Path, named: str) -> str:
    """Return the key in a file, or raise InvalidSettings if it cannot be read or is empty."""
    try:
        key = secret.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidSettings(
            f"The key for 1min.ai in {named} (DARKROOM_ONEMIN_API_KEY_FILE) cannot be read: {why}. "
            f"Let user 10001 read it: sudo chown 10001 {named} && sudo chmod 0400 {named}"
        ) from None
    if not key:
        raise InvalidSettings(
            f"{named} (DARKROOM_ONEMIN_API_KEY_FILE) is empty: write the key for 1min.ai into it."
        )
    return key


def provider_files(settings: Settings) -> Mapping[str, str]:
    """Return the files that make the services use 1min.ai as `settings` has it."""
    return {
        "onemin_api_key": settings.onemin_api_key.get_secret_value(),
        "onemin_base_url": settings.onemin_base_url,
        "onemin_image_hosts": ",".join(settings.onemin_image_hosts),
        "onemin_allow_private_hosts": ",".join(settings.onemin_allow_private_hosts),
        "provider_rate_per_minute": f"{settings.provider_rate_per_minute:g}",
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


app = cyclopts.App(name="compose_init", help=__doc__)


@app.command
def create(
    *, directory: Path, sandbox: int = 1, key_file: str = "", secret: Path = _SECRET
) -> None:
    """Write the files of the service; exit with a sentence on failure."""
    import redis  # noqa: PLC0415  0.3 s that whoever imports this module for its names need not pay

    try:
        settings = load_settings()
        provider = _provider_or_none(settings, Choice(bool(sandbox), key_file), secret)
        # compose serves others: its tenant has the limits of any new one
        opened = partial(open_local_tenant, may_disable_safety=False)
        first_start(directory, settings, provider, opened)
    except InvalidSettings as error:
        sys.stderr.write(f"The first start did not succeed.\n{error}\n")
        sys.exit(2)
    except (DarkroomError, OSError, redis.RedisError) as error:
        sys.exit(f"The first start did not succeed: {error}")
    print(f"ready: the tenant's key is in {directory / 'api_key'}")  # noqa: T201  for the log


def _provider_or_none(settings: Settings, choice: Choice, secret: Path) -> Mapping[str, str]:
    """Return the files of the provider; without a key if none can be used."""
    try:
        return choose_provider(settings, choice, secret)
    except InvalidSettings:
        return provider_files(settings)  # check-provider says why


@app.command
def check_provider(*, sandbox: int = 1, key_file: str = "", secret: Path = _SECRET) -> None:
    """Print who makes the images; exit with 2 and a sentence if nothing can."""
    try:
        files = choose_provider(load_settings(), Choice(bool(sandbox), key_file), secret)
    except InvalidSettings as error:
        sys.stderr.write(f"Jobs are accepted, but no images are made.\n{error}\n")
        sys.exit(2)
    made_by = "the sandbox" if files is SANDBOX_FILES else "1min.ai"
    print(f"Images are made by {made_by}.")  # noqa: T201  for the log


if __name__ == "__main__":
    app()
