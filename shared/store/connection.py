"""Connections to Redis, and the translation of its errors.

redis-py's own retries are off, because this package knows what may be repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.retry import Retry

from shared.errors import OutcomeUnknown, StoreDown, StoreError, StoreFull
from shared.setting_values import host_port
from shared.settings import Settings

SENTINEL_PORT = 26379


def connect(settings: Settings, *, connections: int) -> "redis.Redis":
    """Build a client for threads; a `Store` opens at most `connections`, and the client one more.

    A `Store` keeps its connections, so that one is for those who also use the client itself.
    """
    options = {
        **_options(settings),
        "retry": Retry(NoBackoff(), 0),
        "max_connections": connections + 1,
    }
    if not settings.redis_url.startswith("sentinel://"):
        return redis.Redis.from_url(settings.redis_url, **options)
    named = read_sentinel(settings.redis_url)
    sentinel = redis.sentinel.Sentinel(
        named.hosts, sentinel_kwargs=_sentinel_options(settings, named)
    )
    client: redis.Redis = sentinel.master_for(named.master, **named.primary, **options)
    return client


def connect_async(settings: Settings, *, connections: int) -> redis.asyncio.ConnectionPool:
    """Build a pool for asyncio; it opens at most `connections`."""
    options = {
        **_options(settings),
        "retry": AsyncRetry(NoBackoff(), 0),
        "max_connections": connections,
    }
    if not settings.redis_url.startswith("sentinel://"):
        return redis.asyncio.ConnectionPool.from_url(settings.redis_url, **options)
    named = read_sentinel(settings.redis_url)
    sentinel = redis.asyncio.sentinel.Sentinel(
        named.hosts, sentinel_kwargs=_sentinel_options(settings, named)
    )
    return _SentinelPool(named.master, sentinel, **named.primary, **options)  # type: ignore[no-untyped-call]  # redis-py's


class _SentinelPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """A pool that also closes its connections to Sentinel, which redis-py leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  as redis-py has it
        """Close the connections; continued use opens new ones."""
        await super().disconnect(inuse_connections)
        for one in self.sentinel_manager.sentinels:
            await one.aclose()


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "protocol": 2,
        "socket_timeout": settings.redis_timeout_seconds,
        "socket_connect_timeout": settings.redis_timeout_seconds,
        "socket_keepalive": True,
    }


@dataclass(frozen=True, slots=True)
class SentinelConfig:
    """A primary behind Sentinel: the sentinels, its name, and both sets of credentials."""

    hosts: list[tuple[str, int]]
    master: str
    database: int
    username: str | None
    password: str | None
    sentinel_password: str | None

    @property
    def primary(self) -> dict[str, Any]:
        """Connection options of the primary."""
        return {"db": self.database, "username": self.username, "password": self.password}

    @property
    def options(self) -> dict[str, Any]:
        """Connection options of the sentinels."""
        return {"password": self.sentinel_password} if self.sentinel_password else {}


def read_sentinel(url: str) -> SentinelConfig:
    """Parse `sentinel://[user]:[password]@host:port,host:port/0?master=NAME&sentinel_password=…`.

    User and password are the primary's, %-encoded as in any URL.
    """
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = (unquote(part) for part in credentials.partition(":"))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return SentinelConfig(
        hosts=[_host(written) for written in hosts.split(",")],
        master=query.get("master", "mymaster"),
        database=int(parts.path.strip("/") or 0),
        username=user or None,
        password=password or None,
        sentinel_password=query.get("sentinel_password"),
    )


def _sentinel_options(settings: Settings, named: SentinelConfig) -> dict[str, Any]:
    seconds = settings.redis_timeout_seconds
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds, **named.options}


def _host(written: str) -> tuple[str, int]:
    host, port = host_port(written)
    return host, port or SENTINEL_PORT


def is_unknown(error: Exception) -> bool:
    """Return whether Redis does not know the called function: nothing was executed."""
    return isinstance(error, ResponseError) and str(error) == "Function not found"


def translate(error: Exception, *, sent: bool) -> StoreError:
    """Translate an error of redis-py; `sent` is whether the command may have run."""
    text = next((text for kind, text in _REFUSALS.items() if isinstance(error, kind)), None)
    if isinstance(error, OutOfMemoryError) or str(error).startswith("MISCONF"):
        return StoreFull(text or "Redis cannot write its append-only file.")
    if text:
        return StoreDown(text)
    if str(error).startswith("DB index is out of range"):
        return StoreDown("Redis has no database of the number at the end of DARKROOM_REDIS_URL.")
    if isinstance(error, ResponseError):
        return StoreError(f"Redis refused a script: {error}")
    return OutcomeUnknown(_SILENT) if sent else StoreDown("Redis is not reachable.")


_SILENT = "Redis did not reply after a command was sent."
_REFUSALS: Mapping[type[Exception], str] = {
    AuthenticationError: "Redis refuses the user or the password of DARKROOM_REDIS_URL.",
    OutOfMemoryError: "Redis is at its memory limit.",
    BusyLoadingError: "Redis is loading its data.",
    ReadOnlyError: "This Redis is a replica; the primary is not reachable.",
}
