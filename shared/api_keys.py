"""API keys: `dk_<id>_<secret><checksum>`. Only a hash of the secret is stored.

The checksum (CRC-32, as in GitHub's tokens) lets scanners and the API recognise a mistyped key
without a lookup. The secret has 160 random bits, so its hash needs neither a salt nor a slow
function.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from enum import StrEnum
from typing import NamedTuple

from shared.ids import ALPHABET

_ID_LETTERS = 12
_KEY = re.compile(rf"dk_([{ALPHABET}]{{{_ID_LETTERS}}})_([{ALPHABET}]{{32}})([0-9a-f]{{8}})")


class Scope(StrEnum):
    """What a key may do: use a tenant's own jobs, or operate the service."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    OPS_READ = "ops:read"
    OPS_WRITE = "ops:write"


#: Owns the keys and endpoints of operators; no tenant can have this name.
OPERATORS = "@operators"
#: The default scopes of a tenant's keys, and of operator keys.
TENANT_SCOPES = (Scope.JOBS_WRITE, Scope.JOBS_READ)
OPS_SCOPES = (Scope.OPS_READ, Scope.OPS_WRITE)


class Key(NamedTuple):
    """The parts of a key."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        """The whole key, as it is shown once."""
        return f"dk_{self.id}_{self.secret}{_checksum(self.id, self.secret)}"

    @property
    def hash(self) -> str:
        """The stored hash."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, stored_hash: str) -> bool:
        """Compare with the stored hash, in constant time."""
        return hmac.compare_digest(self.hash, stored_hash)


def new_key() -> Key:
    """Create a random key."""
    return Key(_random(_ID_LETTERS), _random(32))


def parse_key(text: str) -> Key | None:
    """Parse a key; return None if it is malformed or mistyped."""
    found = _KEY.fullmatch(text)
    if not found or found[3] != _checksum(found[1], found[2]):
        return None
    return Key(found[1], found[2])


def is_key_id(text: str) -> bool:
    """Return whether this could be the id of a key."""
    return len(text) == _ID_LETTERS and set(text) <= set(ALPHABET)


def _random(letters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(letters))


def _checksum(key_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'dk_{key_id}_{secret}'.encode()):08x}"
