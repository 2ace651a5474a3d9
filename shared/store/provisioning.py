"""Create a tenant with its first key and its webhook secret."""

from dataclasses import dataclass

from shared.api_keys import OPERATORS, OPS_SCOPES, TENANT_SCOPES, new_key
from shared.errors import TenantExists
from shared.signing import new_webhook_secret
from shared.store.api_keys import KeyRejected, add_api_key
from shared.store.audit import AuditContext
from shared.store.client import Store
from shared.store.tenants import NAME, NAME_RULE, Limits, create_tenant

#: The default limits of a new tenant.
FIRST_LIMITS: Limits = {"may_disable_safety": False}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets of a tenant, shown once. `webhook_secret` is `whsec_…` (Standard Webhooks)."""

    tenant: str
    api_key: str
    webhook_secret: str


def provision_tenant(
    store: Store, name: str, *, by: str, limits: Limits = FIRST_LIMITS, join: bool = False
) -> Credentials:
    """Create a tenant with a key for its own jobs; with `join` an existing one gets the key.

    Raise StoreError, TenantExists (without changes), and ValueError for an invalid name or a tenant
    that has too many keys.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"A tenant's name {NAME_RULE}.")
    secret = new_webhook_secret()
    existing = store.run(create_tenant(AuditContext(by, ""), name, limits, webhook_secret=secret))
    if existing and not join:
        raise TenantExists(
            f"There is a tenant {name} already; `darkroom keys create {name}` makes another key."
        )
    key = new_key()
    match store.run(add_api_key(AuditContext(by, ""), name, key, TENANT_SCOPES)):
        case KeyRejected(detail=count):
            raise ValueError(
                f"The tenant {name} has {count} keys, the maximum. "
                "Keys that ended count for 30 days."
            )
    return Credentials(name, key.text, existing or secret)


def open_ops_key(store: Store, *, by: str) -> str:
    """Create an operator key with all scopes; return the key.

    Raise StoreError, and ValueError if there are too many.
    """
    key = new_key()
    match store.run(add_api_key(AuditContext(by, ""), OPERATORS, key, OPS_SCOPES)):
        case KeyRejected(detail=count):
            raise ValueError(
                f"There are {count} ops keys, the maximum. Keys that ended count for 30 days."
            )
    return key.text
