"""Tenants and keys from the command line: the same calls as over HTTP, on a Redis of its own.

Each function gives what the HTTP route would answer with. A fault ends the program with a sentence:
with 2 for wrong words and settings, with 3 where what was asked for cannot be, with 4 where Redis
is away.
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

from api.json_body import checked
from api.ops.body import KeyBody, LimitsBody, OpsKeyBody, RotateBody, moment_of
from api.ops.keys import key_shown, refusal
from api.ops.tenants import tenant_shown
from api.problems import Fault
from shared.errors import BadSettings, StoreError, TenantExists
from shared.keys import Key, new_key
from shared.queue import build_celery, build_scripts
from shared.running_stack import load_operator_settings
from shared.store import access, opening
from shared.store import tenants as store_tenants
from shared.store.audit import Deed
from shared.store.call import Call
from shared.store.client import Store
from shared.store.connect import connect
from shared.store.reading import facts

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)
Shown = dict[str, Any]

#: As `darkroom.commands.exits` has them, which the service does not import.
_USAGE, _REFUSED, _AWAY = 2, 3, 4
#: Tenants read at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Hand:
    """A store, who writes to it, and what a call of a model costs as far as is known here."""

    store: Store
    by: str
    prices: Mapping[str, float]

    def run(self, call: Call[T]) -> T:
        return self.store.run(call)

    @property
    def deed(self) -> Deed:
        return Deed(self.by, "")


def create_tenant(name: str) -> Shown:
    """Make a tenant; gives its first key and its webhook secret."""
    with _hand() as hand:
        return asdict(opening.open_tenant(hand.store, name, by=hand.by))


def list_tenants() -> list[Shown]:
    """Give all tenants, by name."""
    found: list[store_tenants.Tenant] = []
    with _hand() as hand:
        while True:
            after = found[-1].name if found else None
            page = hand.run(store_tenants.list_tenants(after=after, limit=_PAGE))
            found += page
            if len(page) < _PAGE:
                return [tenant_shown(tenant, hand.prices) for tenant in found]


def show_tenant(name: str) -> Shown:
    """Give a tenant."""
    with _hand() as hand:
        return _tenant(hand, name)


def set_limits(name: str, written: Mapping[str, object]) -> Shown:
    """Change what a tenant may, from words as they stand on the command line; gives it."""
    given = _checked({limit: _value(word) for limit, word in written.items()}, LimitsBody).given()
    if not given:
        _end("Name what to change, such as --weight 2.", _USAGE)
    with _hand() as hand:
        if not hand.run(store_tenants.limit(name, hand.deed, **given)):
            _end(f"There is no tenant {name}.")
        return _tenant(hand, name)


def list_keys(tenant: str | None) -> list[Shown]:
    """Return the keys of a tenant, or those of operators."""
    holder = _holder(tenant)
    with _hand() as hand:
        found = hand.run(access.list_keys(holder))
    if found is None:
        _end(f"There is no tenant {tenant}.")
    return [key_shown(key) for key in found]


def create_key(tenant: str | None, given: Mapping[str, object]) -> Shown:
    """Create a key for a tenant, or for operators; returns it with its text."""
    body, key = _checked(given, KeyBody if tenant is not None else OpsKeyBody), new_key()
    holder, ends = _holder(tenant), moment_of(body.expires_at)
    with _hand() as hand:
        call = access.add_key(
            hand.deed, holder, key, body.scopes, label=body.label, expires_at=ends
        )
        return _made(key, hand.run(call))


def rotate_key(tenant: str | None, key_id: str, given: Mapping[str, object]) -> Shown:
    """Create a key in the place of another; returns it with its text."""
    body, key = _checked(given, RotateBody), new_key()
    holder = _holder(tenant)
    ends, grace = moment_of(body.expires_at), body.grace_seconds
    with _hand() as hand:
        call = access.rotate_key(
            hand.deed, holder, key_id, key, grace_seconds=grace, expires_at=ends
        )
        return _made(key, hand.run(call))


def revoke_key(tenant: str | None, key_id: str) -> Shown:
    """Revoke a key of a tenant or of operators; returns its id."""
    holder = _holder(tenant)
    with _hand() as hand:
        if not hand.run(access.revoke_key(hand.deed, holder, key_id)):
            whose = "There is no ops key" if tenant is None else f"The tenant {tenant} has no key"
            _end(f"{whose} {key_id}.")
    return {"revoked": key_id}


def _holder(tenant: str | None) -> str:
    """Name whose keys are meant: a tenant's, or with None those of operators."""
    if tenant is None:
        return access.OPERATORS
    if not store_tenants.NAME.fullmatch(tenant):
        _end(f"There is no tenant {tenant}.")
    return tenant


@contextmanager
def _hand() -> Iterator[_Hand]:
    """Reach the Redis of the settings; whatever is wrong with it ends the program in a sentence."""
    try:
        settings = load_operator_settings()
        scripts = build_scripts(settings, build_celery(settings))
        store = Store(connect(settings, connections=1), scripts)
        store.run(facts())  # a Redis that is away is told before anything is sent that writes
        yield _Hand(store, f"cli:{_user()}", settings.credits_per_image)
        store.close()
    except TenantExists as error:
        _end(str(error))
    except (ValueError, BadSettings) as error:
        _end(str(error), _USAGE)
    except StoreError as error:
        _end(f"Redis did not do it: {error} Check DARKROOM_REDIS_URL.", _AWAY)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # in a container a user may have no name


def _value(word: object) -> object:
    """Read a word as the JSON that it would be in a body; `none` is null."""
    if word == "none":
        return None
    try:
        return orjson.loads(word) if isinstance(word, str) else word
    except orjson.JSONDecodeError:
        return word


def _checked(given: Mapping[str, object], model: type[B]) -> B:
    """Check options as the body of a request is checked."""
    # json escapes what the command line has of bytes that are not UTF-8
    found = checked(model, json.dumps(dict(given)).encode())
    if isinstance(found, list):
        _end(_options(found), _USAGE)
    return found


def _options(faults: Sequence[Fault]) -> str:
    """Name the options at fault, a line each."""
    names = (fault.pointer.split("/")[1].replace("_", "-") for fault in faults)
    return "\n".join(
        f"--{name} {fault.message}." for name, fault in zip(names, faults, strict=True)
    )


def _tenant(hand: _Hand, name: str) -> Shown:
    found = hand.run(store_tenants.read_tenant(name))
    if not found:
        _end(f"There is no tenant {name}.")
    return tenant_shown(found[0], hand.prices)


def _made(key: Key, made: access.KeyFacts | access.NoKey) -> Shown:
    if isinstance(made, access.NoKey):
        problem = refusal(made)
        if problem.errors:
            _end(_options(problem.errors), _USAGE)
        _end(problem.detail)
    return {**key_shown(made), "key": key.text}


def _end(sentence: str, code: int = _REFUSED) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(code)
