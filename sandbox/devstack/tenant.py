"""The first tenant of a new stack, and the key of its operator."""

from sandbox.devstack.keys import TENANT, TenantKeys

#: Who the audit log says it was.
_BY = "darkroom up"


def open_local_tenant(redis_url: str, *, may_disable_safety: bool = True) -> TenantKeys:
    """Open the tenant in the Redis at `redis_url`; its keys and an ops key are shown only once."""
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
