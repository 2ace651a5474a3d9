"""The pool of 1min.ai API keys: what each is known by, and which of them share credits."""

import hashlib
from dataclasses import dataclass, field

#: Characters of a key that operators are shown.
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One API key. `id` names it in Redis, metrics and logs; `team` names whose credits it uses."""

    id: str
    team: str
    secret: str = field(repr=False)

    @property
    def masked(self) -> str:
        """The end of the key, by which an operator knows it."""
        return f"…{self.secret[-_SHOWN:]}" if len(self.secret) > 2 * _SHOWN else "…"


NO_KEY = ProviderKey("", "", "")


def read_key(written: str) -> ProviderKey:
    """Read `key`, or `team:key` for keys that share the credits of one team.

    A key without a team has credits of its own.
    """
    team, separator, secret = written.rpartition(":")
    key_id = hashlib.sha256(secret.encode()).hexdigest()[:8]
    return ProviderKey(key_id, team if separator else key_id, secret)
