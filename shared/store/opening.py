"""A tenant with all it needs to begin: its name, its first keys, its webhook secret."""

from dataclasses import dataclass

from shared.keys import OPS_SCOPES, TENANT_SCOPES, new_key
from shared.signing import new_webhook_secret
from shared.store.access import NoKey, add_key
from shared.store.audit import Deed
from shared.store.client import Store
from shared.store.tenants import NAME, NAME_RULE, Limits, create_tenant

#: What a new tenant may where nothing else is said.
FIRST_LIMITS: Limits = {"may_disable_safety": True}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a new tenant is told once. `webhook_secret` is `whsec_…` (Standard Webhooks)."""

    tenant: str
    api_key: str
    ops_key: str
    webhook_secret: str


def open_tenant(store: Store, name: str, *, by: str) -> Credentials:
    """Make a tenant, or take the one of this name, and give it a new key and a new ops key.

    Raises StoreError, and ValueError for a name that cannot stand in a key or a tenant that has too
    many keys.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"A tenant's name {NAME_RULE}.")
    secret = new_webhook_secret()
    known = store.run(create_tenant(Deed(by, ""), name, FIRST_LIMITS, webhook_secret=secret))
    own, ops = new_key(), new_key()
    for key, scopes in ((own, TENANT_SCOPES), (ops, OPS_SCOPES)):
        match store.run(add_key(Deed(by, ""), name, key, scopes)):
            case NoKey(detail=count):
                raise ValueError(f"The tenant {name} has {count} keys already.")
    return Credentials(name, own.text, ops.text, known or secret)
