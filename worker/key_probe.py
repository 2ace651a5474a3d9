"""Reinstate rejected provider keys that work again: a proxy's 403 disables no key forever.

The check is free: it reads the record of an id that nobody has, which a valid key may do.
"""

from shared.errors import JobError
from shared.logs import log
from shared.provider_keys import ProviderKey
from shared.store import maintenance
from shared.store.transitions import Signal
from worker.context import WorkerContext
from worker.provider.client import Stopped

_LOG = log(__name__)

INTERVAL_SECONDS = 15.0
_DEAD = "dead:"


class KeyProbe:
    """Check the rejected ones among this process' keys."""

    def __init__(self, context: WorkerContext) -> None:
        """Take the keys, the provider and the store."""
        self._context = context

    def revive(self) -> None:
        """Register this process' keys, and check each rejected one once; raise StoreError."""
        gate = self._context.store.run(maintenance.register_keys(self._context.keys))
        for key in self._context.keys:
            if f"{_DEAD}{key.id}" in gate and self._lives(key):
                self._context.store.run(maintenance.report_signal(Signal.key_alive(key.id)))
                _LOG.warning("provider key recovered", key_id=key.id, key=key.masked)

    def _lives(self, key: ProviderKey) -> bool:
        try:
            self._context.provider.check_key(key.secret)
        except Stopped:
            return False
        except JobError as error:
            _LOG.error(
                "provider key is dead: replace it in DARKROOM_ONEMIN_API_KEY",
                key_id=key.id,
                key=key.masked,
                error=str(error),
            )
            return False
        return True
