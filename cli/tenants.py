"""The commands for tenants, their keys, operator keys, and image URLs.

They connect to the Redis of DARKROOM_REDIS_URL (or of a running stack) directly, so they work
before anything else runs; every change is in the audit log, by `cli:<user>`.

Exit codes: 0; 2 for invalid arguments or settings; 3 if the request cannot be fulfilled; 4 if Redis
is unavailable. Errors are printed on stderr.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from cli.printing import Json, print_facts, print_json, print_line, print_table

tenants = cyclopts.App(help="Manage tenants and their limits.")
keys = cyclopts.App(help="Manage the API keys of tenants.")
image_urls = cyclopts.App(help="Revoke the signed URLs of images.")
ops_keys = cyclopts.App(help="Manage the keys of operators, which grant access to all tenants.")

Passphrase = Annotated[
    Path | None,
    cyclopts.Parameter(help="A file with the passphrase that encrypts the webhook secrets."),
]
Limit = Annotated[str | None, cyclopts.Parameter(help="A number, or `none` to remove the limit.")]
Grace = Annotated[
    int | None,
    cyclopts.Parameter(help="Seconds for which the old key still works; default: one day."),
]
_KEY_COLUMNS = ("id", "state", "scopes", "label", "created_at", "expires_at", "last_used_at")
_KEY_LIMITS = ("monthly_credits", "requests_per_minute", "models")
Moment = Annotated[str | None, cyclopts.Parameter(help="A time such as 2027-01-31T12:00:00Z.")]


class _Limits:
    """Options that are limits; `none` removes one."""

    def given(self) -> dict[str, object]:
        """Return the given limits, named as in the API."""
        written = asdict(self)  # type: ignore[call-overload]  # each kind is a dataclass
        if written["models"] == ["none"]:
            written["models"] = "none"
        return {name: value for name, value in written.items() if value is not None}


Models = Annotated[
    list[str] | None,
    cyclopts.Parameter(
        negative="", consume_multiple=True, help="The only models that may be used; `none`: all."
    ),
]


@cyclopts.Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TenantLimits(_Limits):
    """The limits of a tenant."""

    weight: Limit = None
    max_running: Limit = None
    max_queued: Limit = None
    requests_per_minute: Limit = None
    daily_credits: Limit = None
    monthly_credits: Limit = None
    budget_action: Annotated[
        str | None,
        cyclopts.Parameter(
            help="`hold` its queued jobs or `refuse` new ones when the credits are used up; "
            "`none`: refuse."
        ),
    ] = None
    may_disable_safety: bool | None = None
    models: Models = None
    image_retention_seconds: Annotated[
        str | None,
        cyclopts.Parameter(
            help="Seconds for which an image is kept after the end of its job, unless the job sets "
            "its own; 0: as long as the job; `none`: as DARKROOM_IMAGE_RETENTION_SECONDS."
        ),
    ] = None
    record_retention_seconds: Annotated[
        str | None,
        cyclopts.Parameter(
            help="Seconds for which a job is kept after its end, unless the job sets its own; "
            "0: forever; `none`: as DARKROOM_RECORD_RETENTION_SECONDS."
        ),
    ] = None
    archive_prompts: Annotated[
        bool | None,
        cyclopts.Parameter(
            help="Whether prompts are kept in the history; without them, archived jobs cannot be "
            "retried or reproduced."
        ),
    ] = None


@cyclopts.Parameter(name="*")
@dataclass(frozen=True, slots=True)
class KeyLimits(_Limits):
    """The limits of an API key."""

    monthly_credits: Annotated[
        str | None,
        cyclopts.Parameter(
            help="Credits per calendar month (UTC), after which new jobs of the key are refused; "
            "`none`: no budget."
        ),
    ] = None
    requests_per_minute: Annotated[
        str | None,
        cyclopts.Parameter(help="Requests per minute that create jobs; `none`: no limit."),
    ] = None
    models: Models = None


_NO_LIMITS, _NO_KEY_LIMITS = TenantLimits(), KeyLimits()


@tenants.command
def create(name: str, *, json: Json = False) -> None:
    """Create a tenant with an API key for its own jobs.

    The key and the webhook secret are shown only once.
    """
    # imported late, here as below, so that other commands start fast
    from cli import admin  # noqa: PLC0415

    print_facts(admin.create_tenant(name), json=json)


@tenants.command(name="list")
def list_tenants(*, json: Json = False) -> None:
    """List the tenants with their limits and their queued and running jobs."""
    from cli import admin  # noqa: PLC0415

    columns = ("name", "weight", "max_running", "max_queued", "queued", "running")
    print_table(admin.list_tenants(), columns, json=json)


@tenants.command
def show(name: str, *, json: Json = False) -> None:
    """Show the limits, budgets and number of jobs of a tenant."""
    from cli import admin  # noqa: PLC0415

    _print_tenant(admin.show_tenant(name), json=json)


@tenants.command(name="set")
def set_limits(name: str, *, limits: TenantLimits = _NO_LIMITS, json: Json = False) -> None:
    """Change limits of a tenant; they apply at once. Limits that are not named stay."""
    from cli import admin  # noqa: PLC0415

    _print_tenant(admin.set_limits(name, limits.given()), json=json)


@tenants.command
def delete(name: str, *, confirm: str | None = None, json: Json = False) -> None:
    """Delete a tenant with its keys, jobs, images, deliveries and history.

    Its keys stop working within five seconds; a worker deletes the rest. `--confirm` must repeat
    the name. The totals of its usage by day stay.
    """
    from cli import admin  # noqa: PLC0415

    print_facts(admin.delete_tenant(name, confirm), json=json)


@tenants.command
def erasure(erasure_id: str, *, json: Json = False) -> None:
    """Show the progress of a deletion, by the `id` that `delete` printed."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.erasure(erasure_id), json=json)


@tenants.command
def export(
    *,
    passphrase_file: Passphrase = None,
    output: Annotated[
        Path | None,
        cyclopts.Parameter(help="The file to write, whole or not at all; default: stdout."),
    ] = None,
) -> None:
    """Write all tenants to a file for `apply`: limits, hashes of valid keys, and operator keys.

    Webhook secrets are left out unless a passphrase seals them.
    """
    from cli.tenant_backup import export_tenants  # noqa: PLC0415

    sys.stdout.write(export_tenants(passphrase_file, output))


@tenants.command
def apply(
    file: Annotated[Path, cyclopts.Parameter(help="A file of `darkroom tenants export`.")],
    *,
    passphrase_file: Passphrase = None,
    secrets: Annotated[
        bool, cyclopts.Parameter(help="--no-secrets leaves webhook secrets as they are.")
    ] = True,
    dry_run: Annotated[
        bool, cyclopts.Parameter(negative="", help="Print the changes and make none.")
    ] = False,
    json: Json = False,
) -> None:
    """Create the tenants and keys of FILE that are missing, and set the limits of its tenants.

    Limits that FILE does not name are removed. Tenants, keys and endpoints that FILE does not name
    stay. A key that Redis has is not changed: if it differs from FILE, it is listed. A new tenant
    without a webhook secret gets one, shown only once. If a key of FILE belongs to another tenant
    or has another secret, nothing is changed. After an interruption, run it again.
    """
    from cli.tenant_backup import apply_file  # noqa: PLC0415

    created: dict[str, str] = {}
    rows = None
    try:
        rows = apply_file(
            file, passphrase_file, with_secrets=secrets, dry_run=dry_run, created=created
        )
    finally:
        if rows is None or not json:
            if rows:
                print_table(rows, tuple(rows[0]), json=False)
            for tenant, secret in created.items():
                print_line(f"new webhook secret of {tenant}: {secret}")
    if json:
        print_json({"data": rows, "webhook_secrets": created})


@keys.command(name="create")
def create_key(
    tenant: str,
    *,
    scopes: Annotated[
        list[str] | None,
        cyclopts.Parameter(
            negative="",
            consume_multiple=True,
            help="Default: jobs:write and jobs:read.",
        ),
    ] = None,
    label: str = "",
    expires_at: Moment = None,
    limits: KeyLimits = _NO_KEY_LIMITS,
    json: Json = False,
) -> None:
    """Create an API key of a tenant. It is shown only once."""
    from cli import admin  # noqa: PLC0415

    print_facts(
        admin.create_key(tenant, _key(scopes, label, expires_at), limits.given()), json=json
    )


@keys.command(name="set")
def set_key_limits(
    tenant: str,
    key_id: str,
    *,
    limits: KeyLimits = _NO_KEY_LIMITS,
    json: Json = False,
) -> None:
    """Change the limits of an API key; they apply at once. Limits that are not named stay.

    The limits of its tenant apply too.
    """
    from cli import admin  # noqa: PLC0415

    print_facts(admin.set_key_limits(tenant, key_id, limits.given()), json=json)


@keys.command(name="list")
def list_api_keys(tenant: str, *, json: Json = False) -> None:
    """List a tenant's keys, with those that ended in the last 30 days."""
    from cli import admin  # noqa: PLC0415

    print_table(admin.list_api_keys(tenant), (*_KEY_COLUMNS, *_KEY_LIMITS), json=json)


@keys.command(name="rotate")
def rotate_key(
    tenant: str,
    key_id: str,
    *,
    grace_seconds: Grace = None,
    expires_at: Moment = None,
    json: Json = False,
) -> None:
    """Replace an API key by a new one with its scopes and limits.

    The old one works for the grace period; both share what is used of the limits.
    """
    from cli import admin  # noqa: PLC0415

    print_facts(admin.rotate_key(tenant, key_id, _rotation(grace_seconds, expires_at)), json=json)


@keys.command(name="revoke")
def revoke_api_key(tenant: str, key_id: str, *, json: Json = False) -> None:
    """Revoke a key: it stops working everywhere within five seconds."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.revoke_api_key(tenant, key_id), json=json)


@ops_keys.command(name="create")
def create_ops_key(
    *,
    scopes: Annotated[
        list[str] | None,
        cyclopts.Parameter(
            negative="",
            consume_multiple=True,
            help="Default: ops:read and ops:write. A key with only ops:read is read-only.",
        ),
    ] = None,
    label: str = "",
    expires_at: Moment = None,
    json: Json = False,
) -> None:
    """Create an operator key. It is shown only once."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.create_key(None, _key(scopes, label, expires_at)), json=json)


@ops_keys.command(name="list")
def list_ops_keys(*, json: Json = False) -> None:
    """List the operator keys, with those that ended in the last 30 days."""
    from cli import admin  # noqa: PLC0415

    print_table(admin.list_api_keys(None), _KEY_COLUMNS, json=json)


@ops_keys.command(name="rotate")
def rotate_ops_key(
    key_id: str,
    *,
    grace_seconds: Grace = None,
    expires_at: Moment = None,
    json: Json = False,
) -> None:
    """Replace an operator key by a new one with its scopes; both work for the grace period."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.rotate_key(None, key_id, _rotation(grace_seconds, expires_at)), json=json)


@ops_keys.command(name="revoke")
def revoke_ops_key(key_id: str, *, json: Json = False) -> None:
    """Revoke a key: it stops working everywhere within five seconds."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.revoke_api_key(None, key_id), json=json)


@image_urls.command(name="rotate")
def rotate_image_urls(*, overlap_seconds: int = 604_800, json: Json = False) -> None:
    """Replace the key that signs the image URLs of all tenants.

    Earlier URLs stay valid for the overlap, by default 7 days; 0 revokes all of them, everywhere
    within five seconds. A job shows its new URL at once.
    """
    from cli import admin  # noqa: PLC0415

    print_facts(admin.rotate_image_urls(overlap_seconds), json=json)


def _key(scopes: list[str] | None, label: str, expires_at: str | None) -> dict[str, object]:
    options: dict[str, object] = {"label": label, "expires_at": expires_at}
    return options if scopes is None else options | {"scopes": scopes}


def _rotation(grace_seconds: int | None, expires_at: str | None) -> dict[str, object]:
    written = {"grace_seconds": grace_seconds, "expires_at": expires_at}
    return {name: value for name, value in written.items() if value is not None}


def _print_tenant(facts: Mapping[str, Any], *, json: bool) -> None:
    """Print a tenant, and warnings for its operator on stderr."""
    print_facts(facts if json else {k: v for k, v in facts.items() if k != "warnings"}, json=json)
    for warning in facts["warnings"]:
        sys.stderr.write(f"{warning}\n")
