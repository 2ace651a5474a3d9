"""The secrets that sign image URLs: create, read, rotate."""

import secrets

import redis

from shared.store import keys, operations
from shared.store.audit import AuditContext
from shared.store.command import Command
from shared.store.connection import translate

#: How often each process reads the secrets again: a rotation reaches every process within it.
REFRESH_SECONDS = 3.0


def create_signing_key(client: "redis.Redis") -> None:
    """Create the first secret, unless there is one; raise StoreError."""
    try:
        # a full Redis refuses SET even if there is nothing to set
        if client.get(keys.signing_key()) is None:
            client.set(keys.signing_key(), new_signing_key(), nx=True)
    except (redis.RedisError, OSError) as error:
        raise translate(error, sent=False) from error


def read_signing_keys() -> Command[tuple[bytes, ...]]:
    """Read the secrets that open image URLs, the current one first; none before it is created."""
    return Command(
        operations.ReadSigningKeys(), lambda reply: tuple(bytes.fromhex(one) for one in reply)
    )


def rotate_signing_key(audit_context: AuditContext, *, overlap_seconds: int) -> Command[None]:
    """Replace the secret; URLs of earlier ones stay valid for `overlap_seconds`.

    With 0, every URL that was ever given out stops working.
    """
    operation = operations.RotateSigningKey(
        *audit_context.args, key=new_signing_key(), overlap_ms=overlap_seconds * 1000
    )
    return Command(operation, lambda _: None)


def new_signing_key() -> str:
    """Create a secret in its stored form: 32 bytes in hexadecimal."""
    return secrets.token_hex(32)
