"""The prices of the API, which it records for commands: their environment may have others."""

from collections.abc import Mapping

import orjson
import redis

from shared.store import keys
from shared.store.connection import translate


def write_prices(prices: Mapping[str, float | None]) -> str:
    """Write the credits of a call by model; None without a price."""
    return orjson.dumps(dict(prices)).decode()


def read_prices(client: "redis.Redis") -> dict[str, float | None]:
    """Read the prices; none before an API has recorded them. Raise StoreError."""
    try:
        stored: object = client.get(keys.prices())
    except (redis.RedisError, OSError) as error:
        raise translate(error, sent=False) from error
    return {} if stored is None else orjson.loads(str(stored))
