"""`darkroom tenants export` and `apply`: write all tenants to a file, and restore them from it.

Apply compares the file with Redis first and changes nothing if a part cannot be applied. It adds
and changes, and removes only limits; so it can be repeated, also after it was interrupted.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.jobs.schemas import moment_of
from api.ops.schemas import KeyLimitsBody, LimitsBody
from api.webhooks.url_validation import delivery_host
from cli.admin import USAGE, AdminSession, all_tenants, end, open_session
from cli.tenant_file import (
    EndpointEntry,
    InvalidTenantFile,
    KeyEntry,
    OpsKeyEntry,
    Seal,
    TenantEntry,
    TenantFile,
    is_sealed,
    new_seal,
    read_file,
    read_passphrase,
    replace_file,
    write_file,
)
from shared.api_keys import OPERATORS
from shared.serializers import rfc3339
from shared.signing import new_webhook_secret
from shared.store import api_keys, endpoints, tenants
from shared.store.provisioning import FIRST_LIMITS
from shared.store.tenants import KeyState

#: Endpoints read at once.
_PAGE = 200

Limits = dict[str, float | str | bool | None]
_Key = KeyEntry | OpsKeyEntry


def export_tenants(passphrase_file: Path | None, output: Path | None) -> str:
    """Write the file of all tenants, with webhook secrets only if there is a passphrase.

    Return its text where no file is named, else ''.
    """
    try:
        seal = new_seal(read_passphrase(passphrase_file)) if passphrase_file else None
    except InvalidTenantFile as error:
        end(str(error), USAGE)
    with open_session() as session:
        facts: dict[str, Any] = {"version": 1, "exported_at": _now()}
        if seal:
            facts["salt"] = seal.salt
        found = all_tenants(session)
        if not found:
            end("There is no tenant to export.")
        facts["tenants"] = [_exported(session, one, seal) for one in found]
        facts["ops_keys"] = list(_exported_keys(session, OPERATORS))
    text = write_file(facts)
    if output is None:
        return text
    try:
        replace_file(output, text)
    except OSError as error:
        end(f"{output} cannot be written: {error.strerror}.", USAGE)
    return ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _written(limit: object) -> str:
    if isinstance(limit, tuple):
        return " ".join(map(str, limit))
    return "none" if limit is None else str(limit)


def _limits(tenant: tenants.Tenant) -> Limits:
    """Return a tenant's limits, all of them."""
    return {name: getattr(tenant, name) for name in LimitsBody.model_fields}


def _wanted_limits(body: LimitsBody) -> Limits:
    """Return the limits of an entry, all of them; a tenant without a weight has 1."""
    limits: Limits = body.model_dump()
    return limits | {"weight": 1.0 if body.weight is None else body.weight}


_NO_LIMITS = _wanted_limits(LimitsBody())


def _exported(session: AdminSession, tenant: tenants.Tenant, seal: Seal | None) -> dict[str, Any]:
    name = tenant.name
    limits = {limit: v for limit, v in _limits(tenant).items() if v != _NO_LIMITS[limit]}
    facts: dict[str, Any] = {"name": name, "limits": limits}
    facts["keys"] = list(_exported_keys(session, name))
    if seal:
        facts["webhook_secret"] = seal.seal(session.run(endpoints.read_webhook_secret(name)))
        own = _own_secrets(session, name)
        facts["webhook_endpoints"] = [
            {"url": url, "secret": seal.seal(secret)} for url, secret in own
        ]
    return facts


def _exported_keys(session: AdminSession, holder: str) -> Iterator[dict[str, Any]]:
    """Yield the valid keys of a tenant or of the operators, by id: equal files have equal text."""
    listed = session.run(api_keys.list_api_keys(holder)) or ()
    for key in sorted(listed, key=lambda one: one.id):
        principal = session.run(tenants.authenticate(key.id))
        if key.state is not KeyState.LIVING or principal is None:
            continue
        facts: dict[str, Any] = {"id": key.id, "hash": principal.key_hash}
        facts["scopes"] = [scope.value for scope in key.scopes]
        if key.label:
            facts["label"] = key.label
        if key.expires_at is not None:
            facts["expires_at"] = rfc3339(key.expires_at)
        if key.payer:
            facts["payer"] = key.payer
        yield facts | _key_limits(key)


def _key_limits(key: api_keys.ApiKeyInfo | _Key) -> Limits:
    """Return the limits that a key has; an operator key of the file has none."""
    if isinstance(key, OpsKeyEntry):
        return {}
    limits = {name: getattr(key, name) for name in KeyLimitsBody.model_fields}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _own_secrets(session: AdminSession, tenant: str) -> Iterator[tuple[str, str]]:
    """Yield URL and secret of each endpoint that has a secret of its own."""
    before = None
    while True:
        page = session.run(endpoints.list_endpoints(tenant, before=before, limit=_PAGE))
        for one in page.endpoints:
            if one.has_secret:
                call = endpoints.read_webhook_secret(tenant, endpoint_id=one.id)
                yield one.url, session.run(call)
        before = page.before
        if before is None:
            return


@dataclass(slots=True)
class Change:
    """What apply does to one tenant, or to the operators' keys."""

    #: a tenant, or OPERATORS
    holder: str
    creates: bool = False
    #: limits to set; None removes one
    limits: Limits = field(default_factory=dict)
    keys: tuple[_Key, ...] = ()
    #: the webhook secret to set; '' keeps the present one
    secret: str = ""
    endpoints: tuple[EndpointEntry, ...] = ()
    #: ids of valid keys in Redis that the file does not have
    other_keys: tuple[str, ...] = ()
    #: ids of keys that the file and Redis have with different values, or that are revoked in Redis
    differing_keys: tuple[str, ...] = ()

    @property
    def shown(self) -> dict[str, Any]:
        """Return the change as the command prints it."""
        changes = self.limits or self.keys or self.secret or self.endpoints
        return {
            "tenant": self.holder,
            "change": "created" if self.creates else "changed" if changes else "unchanged",
            "limits": [f"{n}={_written(v)}" for n, v in self.limits.items()],
            "keys_added": [key.id for key in self.keys],
            "keys_only_in_redis": list(self.other_keys),
            "keys_differ": list(self.differing_keys),
            "webhook_secret": "set" if self.secret else "new" if self.creates else "kept",
            "endpoint_secrets": len(self.endpoints),
        }


def apply_file(
    path: Path,
    passphrase_file: Path | None,
    *,
    with_secrets: bool,
    dry_run: bool,
    created: MutableMapping[str, str],
) -> list[Mapping[str, Any]]:
    """Apply a file; return a row per tenant. With `dry_run`, change nothing.

    `created` gets the webhook secret of each new tenant as soon as Redis has it: the caller must
    show them even if this ends early.
    """
    with open_session() as session:
        try:
            file = read_file(path, session.settings)
            entries = _opened(file, passphrase_file, path, with_secrets=with_secrets)
        except InvalidTenantFile as error:
            end(str(error), USAGE)
        changes, conflicts = _compare(session, entries, file.ops_keys)
        if conflicts:
            end("\n".join([*conflicts, "Nothing was changed."]))
        for change in () if dry_run else changes:
            _apply(session, change, created)
    return [change.shown for change in changes]


def _opened(
    file: TenantFile, passphrase_file: Path | None, path: Path, *, with_secrets: bool
) -> list[TenantEntry]:
    """Return the tenants with their secrets opened, or without any."""
    if not with_secrets:
        bare = {"webhook_secret": None, "webhook_endpoints": ()}
        return [tenant.model_copy(update=bare) for tenant in file.tenants]
    if file.salt is None:
        if any(is_sealed(secret) for secret in file.secrets):
            raise InvalidTenantFile(f"{path} has sealed secrets and no `salt` to open them with.")
        return list(file.tenants)
    if passphrase_file is None:
        raise InvalidTenantFile(
            f"{path} has sealed webhook secrets: name the file of the passphrase with "
            "--passphrase-file, or leave the secrets out with --no-secrets."
        )
    seal = Seal(read_passphrase(passphrase_file), file.salt)

    def opened(tenant: TenantEntry) -> TenantEntry:
        own = tuple(
            one.model_copy(update={"secret": seal.open(one.secret)})
            for one in tenant.webhook_endpoints
        )
        secret = tenant.webhook_secret and seal.open(tenant.webhook_secret)
        return tenant.model_copy(update={"webhook_secret": secret, "webhook_endpoints": own})

    return [opened(tenant) for tenant in file.tenants]


def _compare(
    session: AdminSession, entries: Sequence[TenantEntry], ops_keys: Sequence[_Key]
) -> tuple[list[Change], list[str]]:
    """Return what has to change, and a sentence for each part that cannot be applied."""
    present = {tenant.name: tenant for tenant in all_tenants(session)}
    changes = [_tenant_change(session, one, present.get(one.name)) for one in entries]
    changes.append(Change(OPERATORS))
    conflicts: list[str] = []
    for change, keys in zip(changes, [*(one.keys for one in entries), ops_keys], strict=True):
        conflicts += _compare_keys(session, change, keys)
    return changes, conflicts


def _tenant_change(
    session: AdminSession, entry: TenantEntry, present: tenants.Tenant | None
) -> Change:
    wanted, secret = _wanted_limits(entry.limits), entry.webhook_secret or ""
    if present is None:
        limits = {n: v for n, v in wanted.items() if v != _NO_LIMITS[n]}
        own = entry.webhook_endpoints
        return Change(entry.name, creates=True, limits=limits, secret=secret, endpoints=own)
    now = _limits(present)
    if secret == session.run(endpoints.read_webhook_secret(entry.name)):
        secret = ""
    known = dict(_own_secrets(session, entry.name)) if entry.webhook_endpoints else {}
    return Change(
        entry.name,
        limits={name: value for name, value in wanted.items() if value != now[name]},
        secret=secret,
        endpoints=tuple(one for one in entry.webhook_endpoints if known.get(one.url) != one.secret),
    )


def _compare_keys(session: AdminSession, change: Change, wanted: Sequence[_Key]) -> Iterator[str]:
    """Set the keys that the change adds; yield a sentence for each that cannot be added."""
    listed = session.run(api_keys.list_api_keys(change.holder)) or ()
    named, now = {key.id for key in wanted}, datetime.now(UTC).timestamp() * 1000
    change.other_keys = tuple(
        key.id for key in listed if key.state is KeyState.LIVING and key.id not in named
    )
    adds, differing = [], []
    for key in wanted:
        known = session.run(tenants.authenticate(key.id))
        ends = moment_of(key.expires_at)
        if known is None:
            if ends is None or ends > now:
                adds.append(key)
        elif known.tenant != change.holder:
            yield f"The key {key.id} of {change.holder} belongs to {known.tenant}."
        elif known.key_hash != key.hash:
            yield f"The key {key.id} of {change.holder} has a different secret in the file."
        elif not any(_is_same(one, key) for one in listed):
            differing.append(key.id)
    change.keys, change.differing_keys = tuple(adds), tuple(differing)
    if len(listed) + len(adds) > api_keys.MOST_KEYS:
        yield f"{change.holder} would have more than {api_keys.MOST_KEYS} keys."


def _is_same(present: api_keys.ApiKeyInfo, wanted: _Key) -> bool:
    """Return whether a key in Redis is valid and as in the file."""
    return (
        present.id == wanted.id
        and present.state is KeyState.LIVING
        and set(present.scopes) == set(wanted.scopes)
        and present.label == wanted.label
        and present.expires_at == moment_of(wanted.expires_at)
        and _key_limits(present) == _key_limits(wanted)
        and _payer(wanted) in ("", present.payer)
    )


def _payer(key: _Key) -> str:
    """Return the first of the keys that a key of the file replaced; '' if it names none."""
    return key.payer or "" if isinstance(key, KeyEntry) else ""


def _create(session: AdminSession, change: Change, created: MutableMapping[str, str]) -> None:
    limits = {**FIRST_LIMITS, **change.limits}
    secret = change.secret or new_webhook_secret()
    call = tenants.create_tenant(
        session.audit_context, change.holder, limits, webhook_secret=secret
    )
    if session.run(call):
        end(f"The tenant {change.holder} was created in the meantime; run the command again.")
    if not change.secret:
        created[change.holder] = secret


def _apply(session: AdminSession, change: Change, created: MutableMapping[str, str]) -> None:
    """Make a change; each step is safe to repeat."""
    holder = change.holder
    if change.creates:
        _create(session, change, created)
    else:
        if change.limits:
            session.run(tenants.set_limits(holder, session.audit_context, **change.limits))
        if change.secret:
            call = endpoints.rotate_tenant_secret(session.audit_context, holder, change.secret)
            session.run(call)
    for key in change.keys:
        made = session.run(
            api_keys.add_api_key(
                session.audit_context,
                holder,
                api_keys.StoredKey(key.id, key.hash, _payer(key)),
                key.scopes,
                label=key.label,
                expires_at=moment_of(key.expires_at),
                limits=_key_limits(key),
            )
        )
        if isinstance(made, api_keys.KeyRejected) and made.reason != "past":
            end(f"The key {key.id} of {holder} was not added ({made.reason}). Repeat the command.")
    for one in change.endpoints:
        _add_endpoint(session, holder, one)


def _add_endpoint(session: AdminSession, tenant: str, added: EndpointEntry) -> None:
    """Add an endpoint, or find it, and set its secret."""
    host = delivery_host(added.url)
    call = endpoints.ensure_endpoint(tenant, api_key="", url=added.url, host=host)
    found = session.run(call)
    if found == "gone":
        end(f"{tenant} is being deleted; {added.url} was not added.")
    if found == "full":
        end(f"{tenant} has {endpoints.ENDPOINTS_MAX:,} endpoints; {added.url} was not added.")
    session.run(endpoints.rotate_any_secret(session.audit_context, found, added.secret))
