"""The first tenant of a new stack, and its operator key."""

from sandbox.devstack.keys import TENANT, TenantKeys

#: The operator's name in the audit log.
_BY = "darkroom up"


def open_local_tenant(redis_url: str, *, may_disable_safety: bool = True) -> TenantKeys:
    """Create the tenant in the Redis at `redis_url`; return its keys and an operator key."""
    # 0.5 s that only a first start needs
    from shared.celery_app import build_celery, build_scripts  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415
    from shared.store.client import Store  # noqa: PLC0415
    from shared.store.connection import connect  # noqa: PLC0415
    from shared.store.provisioning import open_ops_key, provision_tenant  # noqa: PLC0415

    settings = Settings(redis_url=redis_url)
    scripts = build_scripts(settings, build_celery(settings))
    store = Store(connect(settings, connections=1), scripts)
    limits = {"may_disable_safety": may_disable_safety}
    made = provision_tenant(store, TENANT, by=_BY, limits=limits, join=True)
    ops_key = open_ops_key(store, by=_BY)
    store.close()
    return TenantKeys(made.tenant, made.api_key, ops_key, made.webhook_secret)
