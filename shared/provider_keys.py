"""The pool of 1min.ai API keys: their ids, and which share credits."""

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum

TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TEAM_RULE = "has 1 to 64 letters, digits and . _ -, and begins with a letter or digit"
#: How many characters of a key operators see.
_SHOWN = 4


class KeySource(StrEnum):
    """Where workers have a key from: DARKROOM_ONEMIN_API_KEY, or Redis, where it is sealed."""

    ENVIRONMENT = "environment"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """An API key. `id` names it in Redis, metrics and logs; `team` names whose credits it uses."""

    id: str
    team: str
    secret: str = field(repr=False)
    source: KeySource = KeySource.ENVIRONMENT

    @property
    def masked(self) -> str:
        """The end of the key, by which operators recognise it."""
        return f"…{self.secret[-_SHOWN:]}" if len(self.secret) > 2 * _SHOWN else "…"


NO_KEY = ProviderKey("", "", "")


def read_key(written: str) -> ProviderKey:
    """Parse `key`, or `team:key` for keys that share the credits of a team.

    A key without a team has credits of its own. Raise ValueError, without the key.
    """
    team, separator, secret = (part.strip() for part in written.rpartition(":"))
    if not secret or (separator and not TEAM.fullmatch(team)):
        raise ValueError(f"a key may have its team in front, as team:key; a team {TEAM_RULE}")
    key_id = key_id_of(secret)
    return ProviderKey(key_id, team or key_id, secret)


def key_id_of(secret: str) -> str:
    """Return the id of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]
