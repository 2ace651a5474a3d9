"""The keys of the stack, created once and stored in its directory, so that clients keep working."""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.devstack.directory import DamagedFile, read_json, set_aside, write_json
from sandbox.devstack.plan import S3Keys

FILE = "keys.json"
TENANT = "local"


@dataclass(frozen=True)
class TenantKeys:
    """The keys of the first tenant and of its operator."""

    tenant: str
    api_key: str
    ops_key: str
    webhook_secret: str


def set_damaged_aside(directory: Path) -> Path | None:
    """Rename an unreadable file of keys, so that a start creates new ones.

    Return its new name, or None if it is readable.
    """
    try:
        stored = read_json(directory / FILE)
        for name, kind in (("s3", S3Keys), ("tenant", TenantKeys)):
            if name in stored:
                _read_keys(directory, stored[name], kind.__match_args__)
    except DamagedFile:
        return set_aside(directory / FILE)
    return None


def s3_keys(directory: Path) -> S3Keys:
    """Return the keys of the S3 server, created at the first start. Raise BadDirectory."""
    stored = read_json(directory / FILE)
    if "s3" not in stored:
        # As long as AWS makes them: rclone refuses shorter ones.
        made = S3Keys(secrets.token_hex(10).upper(), secrets.token_hex(20))
        stored["s3"] = asdict(made)
        write_json(directory / FILE, stored)
    return S3Keys(**_read_keys(directory, stored["s3"], S3Keys.__match_args__))


def tenant_keys(directory: Path) -> TenantKeys | None:
    """Return the first tenant's keys, if it exists already. Raise BadDirectory."""
    stored = read_json(directory / FILE).get("tenant")
    return (
        TenantKeys(**_read_keys(directory, stored, TenantKeys.__match_args__)) if stored else None
    )


def save_tenant_keys(directory: Path, keys: TenantKeys) -> None:
    """Store the first tenant's keys for later starts in the same directory."""
    write_json(directory / FILE, {**read_json(directory / FILE), "tenant": asdict(keys)})


def _read_keys(directory: Path, stored: object, names: tuple[str, ...]) -> dict[str, str]:
    if isinstance(stored, dict) and set(names) <= set(stored):
        return {name: str(stored[name]) for name in names}
    raise DamagedFile(f"{directory / FILE} is not what a stack wrote.")
