"""Tenants and keys from the command line: the operations of the operator API, directly on Redis.

Each function returns what the HTTP route would. A fault ends the program with a sentence: exit code
2 for invalid arguments and settings, 3 if the request cannot be fulfilled, 4 if Redis is
unavailable.
"""

import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, TypeVar

import orjson
from pydantic import BaseModel

from api.erasures import erasure_shown
from api.jobs.schemas import moment_of
from api.json_body import checked
from api.ops.keys import key_shown, refusal
from api.ops.provider_keys import NO_SEAL_KEY, OF_ENVIRONMENT, keys_shown, provider_key_shown
from api.ops.schemas import (
    KeyBody,
    KeyLimitsBody,
    LimitsBody,
    OpsKeyBody,
    ProviderKeyBody,
    RotateBody,
)
from api.ops.tenants import tenant_shown
from api.problems import FieldError
from shared.api_keys import OPERATORS, Key, new_key
from shared.celery_app import build_celery, build_scripts
from shared.errors import (
    IncompatibleStore,
    InvalidSettings,
    StoreError,
    StoreFull,
    TenantDeleting,
    TenantExists,
)
from shared.provider_keys import read_key
from shared.running_stack import load_operator_settings
from shared.sealing import Seal, Unsealable
from shared.serializers import rfc3339
from shared.settings import Settings
from shared.store import api_keys, bulk, erasures, provider_keys, provisioning
from shared.store import tenants as store_tenants
from shared.store.audit import AuditContext
from shared.store.client import Store
from shared.store.command import Command
from shared.store.connection import connect
from shared.store.durability import Replicas
from shared.store.image_urls import rotate_signing_key
from shared.store.job_queries import service_stats
from shared.store.prices import read_prices
from shared.store.schema_version import check_compatible

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)
Shown = Mapping[str, Any]

#: The same as in `darkroom.commands.exits`, which the service does not import.
USAGE, REFUSED, AWAY = 2, 3, 4
#: A year.
_OVERLAP_MAX = 31_536_000
_NONE: Mapping[str, object] = {}
PRICES_UNKNOWN = "Prices are unknown: to see what budgets count, start an API of this version."
#: Tenants read at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class AdminSession:
    """The store, the operator, the settings, and the prices of the API by model.

    There are no prices before an API has recorded them.
    """

    store: Store
    by: str
    settings: Settings
    prices: Mapping[str, float | None]

    def run(self, call: Command[T]) -> T:
        """Run a command on the store."""
        return self.store.run(call)

    @property
    def audit_context(self) -> AuditContext:
        """Return the operator for the audit log."""
        return AuditContext(self.by, "")


def create_tenant(name: str) -> Shown:
    """Create a tenant; return its first key and its webhook secret."""
    with open_session() as session:
        return asdict(provisioning.provision_tenant(session.store, name, by=session.by))


def list_tenants() -> list[Shown]:
    """Return all tenants, by name."""
    with open_session() as session:
        return [_tenant_shown(session, tenant) for tenant in all_tenants(session)]


def all_tenants(session: AdminSession) -> list[store_tenants.Tenant]:
    """Read all tenants, by name."""
    found: list[store_tenants.Tenant] = []
    while True:
        after = found[-1].name if found else None
        page = session.run(store_tenants.list_tenants(after=after, limit=_PAGE))
        found += page
        if len(page) < _PAGE:
            return found


def show_tenant(name: str) -> Shown:
    """Return a tenant."""
    with open_session() as session:
        return _tenant(session, name)


def set_limits(name: str, written: Mapping[str, object]) -> Shown:
    """Change the limits of a tenant, given as command-line words; return the tenant."""
    body = checked_options(_values(written), LimitsBody)
    options = body.changes()
    if not options:
        end("Name what to change, such as --weight 2.", USAGE)
    with open_session() as session:
        if faults := body.conflicts(_read_tenant(session, name)):
            end(_options(faults), USAGE)
        if not session.run(store_tenants.set_limits(name, session.audit_context, **options)):
            _end_without(name)
        return _tenant(session, name)


def delete_tenant(name: str, confirm: str | None) -> Shown:
    """Begin to delete a tenant with everything it has; return the erasure."""
    if confirm != name:
        end(
            f"This deletes the jobs, images, keys and history of {name}, and cannot be undone. "
            f"To do it, add --confirm {name}",
            USAGE,
        )
    with open_session() as session:
        call = erasures.begin_tenant_erasure(session.audit_context, erasures.new_erasure_id(), name)
        erasure_id = session.run(call)
        if erasure_id is None:
            _end_without(name)
        found = session.run(erasures.read_erasure(erasure_id, tenant=""))
    return dict(erasure_shown(found)) if found else {"id": erasure_id}


def erasure(erasure_id: str) -> Shown:
    """Return the progress of an erasure."""
    with open_session() as session:
        found = session.run(erasures.read_erasure(erasure_id, tenant=""))
    if found is None:
        end(f"There is no erasure {erasure_id}; it is kept for 30 days.")
    return dict(erasure_shown(found))


def list_api_keys(tenant: str | None) -> list[Shown]:
    """Return the keys of a tenant, or those of operators."""
    principal = _principal(tenant)
    with open_session() as session:
        found = session.run(api_keys.list_api_keys(principal))
        prices = session.prices
    if found is None:
        _end_without(tenant)
    return [key_shown(key, prices) for key in found]


def create_key(
    tenant: str | None, options: Mapping[str, object], written: Mapping[str, object] = _NONE
) -> Shown:
    """Create a key for a tenant, or for operators; return it with its secret.

    `written` has the limits of a tenant's key as command-line words; None is not given.
    """
    given = {**options, **_values(written)}
    body = checked_options(given, OpsKeyBody) if tenant is None else checked_options(given, KeyBody)
    limits, key = body.changes() if isinstance(body, KeyBody) else {}, new_key()
    principal, ends = _principal(tenant), moment_of(body.expires_at)
    with open_session() as session:
        call = api_keys.add_api_key(
            session.audit_context,
            principal,
            key,
            body.scopes,
            label=body.label,
            expires_at=ends,
            limits=limits,
        )
        return _made(session, key, session.run(call))


def set_key_limits(tenant: str, key_id: str, written: Mapping[str, object]) -> Shown:
    """Change the limits of a key, given as command-line words; return the key."""
    changes = checked_options(_values(written), KeyLimitsBody).changes()
    if not changes:
        end("Name what to change, such as --monthly-credits 500.", USAGE)
    with open_session() as session:
        call = api_keys.set_key_limits(session.audit_context, _principal(tenant), key_id, changes)
        changed = session.run(call)
        if changed is None:
            end(f"The tenant {tenant} has no key {key_id}.")
        return key_shown(changed, session.prices)


def rotate_key(tenant: str | None, key_id: str, options: Mapping[str, object]) -> Shown:
    """Create a key that replaces another; return it with its secret."""
    body, key = checked_options(options, RotateBody), new_key()
    principal = _principal(tenant)
    ends, grace = moment_of(body.expires_at), body.grace_seconds
    with open_session() as session:
        call = api_keys.rotate_api_key(
            session.audit_context, principal, key_id, key, grace_seconds=grace, expires_at=ends
        )
        return _made(session, key, session.run(call))


def revoke_api_key(tenant: str | None, key_id: str) -> Shown:
    """Revoke a key of a tenant or of operators; return its id."""
    principal = _principal(tenant)
    with open_session() as session:
        if not session.run(api_keys.revoke_api_key(session.audit_context, principal, key_id)):
            whose = "There is no ops key" if tenant is None else f"The tenant {tenant} has no key"
            end(f"{whose} {key_id}.")
    return {"revoked": key_id}


def rotate_image_urls(overlap_seconds: int) -> Shown:
    """Replace the key that signs image URLs; return until when earlier URLs are valid."""
    if not 0 <= overlap_seconds <= _OVERLAP_MAX:
        end(f"--overlap-seconds must be 0 to {_OVERLAP_MAX}.", USAGE)
    with open_session() as session:
        session.run(rotate_signing_key(session.audit_context, overlap_seconds=overlap_seconds))
        now_ms = session.run(service_stats()).now_ms
    return {"earlier_urls_valid_until": rfc3339(int(now_ms) + overlap_seconds * 1000)}


def list_provider_keys() -> list[Shown]:
    """Return the provider keys."""
    with open_session() as session:
        return [*keys_shown(session.run(service_stats()))]


def add_provider_key(secret: str, *, team: str | None, label: str | None) -> Shown:
    """Store a provider key, sealed; return it masked."""
    body = checked_options({"key": secret, "team": team, "label": label}, ProviderKeyBody)
    key = read_key(body.key)
    with open_session() as session:
        sealed = _seal_of(session).seal(key.secret)
        call = provider_keys.add_provider_key(session.audit_context, key, sealed, body.changes())
        session.run(call)
        return _provider_key(session, key.id)


def reseal_provider_keys() -> Shown:
    """Seal the stored provider keys with the first seal key; return their ids by what was done."""
    done: dict[str, list[str]] = {"resealed": [], "unchanged": [], "changed": [], "unreadable": []}
    with open_session() as session:
        seal = _seal_of(session)
        for key in session.run(provider_keys.read_stored_keys()):
            done[_reseal(session, seal, key)].append(key.id)
    return done


def _reseal(session: AdminSession, seal: Seal, key: provider_keys.StoredKey) -> str:
    try:
        secret = seal.open(key.sealed)
    except Unsealable:
        return "unreadable"
    if seal.is_current(key.sealed):
        return "unchanged"
    call = provider_keys.reseal_provider_key(session.audit_context, key, seal.seal(secret))
    return "resealed" if session.run(call) else "changed"


def _seal_of(session: AdminSession) -> Seal:
    seal = Seal.of(session.settings.seal_key_texts)
    if seal is None:
        end(NO_SEAL_KEY, USAGE)
    return seal


def pause_provider_key(key_id: str) -> Shown:
    """Pause a provider key; return it."""
    with open_session() as session:
        session.run(bulk.pause_provider_key(session.audit_context, key_id))
        return _provider_key(session, key_id)


def resume_provider_key(key_id: str) -> Shown:
    """Resume a provider key; return it."""
    with open_session() as session:
        session.run(bulk.resume_provider_key(session.audit_context, key_id))
        return _provider_key(session, key_id)


def remove_provider_key(key_id: str) -> Shown:
    """Remove a stored provider key."""
    with open_session() as session:
        removed = session.run(provider_keys.remove_provider_key(session.audit_context, key_id))
    if removed == "environment":
        end(OF_ENVIRONMENT)
    if removed == "unknown":
        _end_without_key(key_id)
    return {"removed": key_id}


def _provider_key(session: AdminSession, key_id: str) -> Shown:
    shown = provider_key_shown(key_id, session.run(service_stats()))
    if shown is None:
        _end_without_key(key_id)
    return shown


def _end_without_key(key_id: str) -> NoReturn:
    end(f"There is no provider key {key_id}; `darkroom provider-keys list` shows them.")


def _principal(tenant: str | None) -> str:
    """Return the owner of the keys: a tenant, or the operators for None."""
    if tenant is None:
        return OPERATORS
    if not store_tenants.NAME.fullmatch(tenant):
        _end_without(tenant)
    return tenant


@contextmanager
def open_session() -> Iterator[AdminSession]:
    """Connect to the Redis of the settings; on failure end the program with a sentence."""
    try:
        settings = load_operator_settings()
        scripts = build_scripts(settings, build_celery(settings))
        client = connect(settings, connections=1)
        check_compatible(client)
        store = Store(client, scripts, Replicas.from_settings(settings))
        store.run(service_stats())  # fails before anything is written if Redis is unavailable
        yield AdminSession(store, f"cli:{_user()}", settings, read_prices(client))
        store.close()
    except (TenantDeleting, TenantExists) as error:
        end(str(error))
    except (ValueError, InvalidSettings) as error:
        end(str(error), USAGE)
    except IncompatibleStore as error:
        end(str(error))
    except StoreFull as error:
        end(f"The command failed: {error} Free memory, then run it again.", AWAY)
    except StoreError as error:
        end(f"The command failed: {error} Check DARKROOM_REDIS_URL.", AWAY)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # in a container a user may have no name


def _value(value_text: object) -> object:
    """Parse a word as JSON; `none` is null."""
    if value_text == "none":
        return None
    try:
        return orjson.loads(value_text) if isinstance(value_text, str) else value_text
    except orjson.JSONDecodeError:
        return value_text


def _values(written: Mapping[str, object]) -> dict[str, object]:
    return {name: _value(word) for name, word in written.items() if word is not None}


def checked_options(options: Mapping[str, object], model: type[B]) -> B:
    """Validate options like the body of a request."""
    # json escapes bytes of the command line that are not UTF-8
    try:
        settings = load_operator_settings()
    except InvalidSettings as error:
        end(str(error), USAGE)
    found = checked(model, json.dumps(dict(options)).encode(), context=settings)
    if isinstance(found, list):
        end(_options(found), USAGE)
    return found


def _options(faults: Sequence[FieldError]) -> str:
    """Return a line for each invalid option."""
    return "\n".join(map(_option, faults))


def _option(fault: FieldError) -> str:
    name = fault.pointer.strip("/").partition("/")[0].replace("_", "-")
    name = "header" if name == "headers" else name  # the option is given once for each
    if name == "key":  # it is not an option, but read from a file
        return f"The key {fault.message}."
    return f"--{name} {fault.message}." if name else f"The command {fault.message}."


def _read_tenant(session: AdminSession, name: str) -> store_tenants.Tenant:
    found = session.run(store_tenants.read_tenant(name))
    if not found:
        _end_without(name)
    return found[0]


def _end_without(tenant: str | None) -> NoReturn:
    """End the program because there is no such tenant."""
    if not tenant:
        end(f"The name of a tenant {store_tenants.NAME_RULE}.", USAGE)
    end(f"There is no tenant {tenant}.")


def _tenant(session: AdminSession, name: str) -> Shown:
    return _tenant_shown(session, _read_tenant(session, name))


def _tenant_shown(session: AdminSession, tenant: store_tenants.Tenant) -> Shown:
    shown = tenant_shown(tenant, session.prices)
    if tenant.budgets and not session.prices:
        shown["warnings"] = [PRICES_UNKNOWN]
    return shown


def _made(
    session: AdminSession, key: Key, made: api_keys.ApiKeyInfo | api_keys.KeyRejected
) -> Shown:
    if isinstance(made, api_keys.KeyRejected):
        problem = refusal(made)
        if problem.errors:
            end(_options(problem.errors), USAGE)
        end(problem.detail)
    return {**key_shown(made, session.prices), "key": key.text}


def end(sentence: str, code: int = REFUSED) -> NoReturn:
    """Print why nothing was done, and exit."""
    sys.stderr.write(f"{sentence}\n")
    sys.exit(code)
