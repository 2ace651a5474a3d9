"""The first tenant of a new stack."""

from sandbox.stack.keys import TENANT, TenantKeys


def open_local_tenant(redis_url: str) -> TenantKeys:
    """Open the tenant in the Redis at `redis_url`, and give its keys, which are shown only once."""
    # 0.5 s that only a first start needs
    from shared.queue import build_celery, build_scripts  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415
    from shared.store.client import Store  # noqa: PLC0415
    from shared.store.connect import connect  # noqa: PLC0415
    from shared.store.opening import open_tenant  # noqa: PLC0415

    settings = Settings(redis_url=redis_url)
    scripts = build_scripts(settings, build_celery(settings))
    store = Store(connect(settings, connections=1), scripts)
    made = open_tenant(store, TENANT, by="darkroom up")
    store.close()
    return TenantKeys(made.tenant, made.api_key, made.ops_key, made.webhook_secret)
