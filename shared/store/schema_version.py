"""The schema version of the data in Redis, which keeps older code from newer data.

Versions run side by side as long as the number stays: a key never changes its meaning, and code
ignores fields that it does not know. Only other changes increase the number.
"""

import redis

from shared.errors import IncompatibleStore
from shared.store import keys
from shared.store.connection import translate

SCHEMA = 4


def incompatibility(stored: object) -> str:
    """Return why data of the schema `stored` (None: no data) is unusable for this code, or ''."""
    if stored is None or str(stored) == str(SCHEMA):
        return ""
    if str(stored).isdecimal() and int(str(stored)) < SCHEMA:
        return (
            f"The data in this Redis has schema {stored}, this version needs {SCHEMA}: let the "
            "version of Darkroom that wrote it finish its jobs, then start with an empty Redis "
            "(for `darkroom up`, another --data folder)."
        )
    # only a later version stores something else
    return (
        f"The data in this Redis is of schema {stored}, and this version knows {SCHEMA}: "
        "start the newer version of Darkroom that wrote it."
    )


def ensure_compatible(client: "redis.Redis") -> None:
    """Store the schema in a new Redis; raise IncompatibleStore for another, and StoreError."""
    _check(client, is_new=True)


def check_compatible(client: "redis.Redis") -> None:
    """Raise IncompatibleStore if Redis has data of another schema, and StoreError."""
    _check(client, is_new=False)


def _check(client: "redis.Redis", *, is_new: bool) -> None:
    try:
        stored: object = client.get(keys.schema())
        if stored is None and is_new:  # a full Redis refuses SET even if nothing is set
            stored = client.set(keys.schema(), SCHEMA, nx=True, get=True)
    except (redis.RedisError, OSError) as error:
        raise translate(error, sent=False) from error
    if reason := incompatibility(stored):
        raise IncompatibleStore(reason)
