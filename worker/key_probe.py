"""Follow the stored provider keys, and reinstate rejected keys that work again.

A 403 of a proxy therefore disables no key forever. The check is free: it reads the record of an id
that does not exist, which a valid key may do.
"""

from shared.errors import JobError, ProviderAuth
from shared.logs import log
from shared.provider_keys import ProviderKey
from shared.store import maintenance
from shared.store.provider_keys import read_stored_keys
from shared.store.transitions import Signal
from worker.context import WorkerContext
from worker.provider.client import Stopped

_LOG = log(__name__)

INTERVAL_SECONDS = 15.0
_DEAD = "dead:"
#: Fields of the gate with which a key is not even checked.
_EXCLUDED = ("paused:key:", "removed:")


class KeyProbe:
    """Register this process' keys, and check the rejected ones among them."""

    def __init__(self, context: WorkerContext) -> None:
        """Take the keys, the provider and the store."""
        self._context = context

    def update(self) -> None:
        """Read the stored keys, and register them if they have changed; raise StoreError."""
        stored = self._context.store.run(read_stored_keys())
        if self._context.key_pool.update(stored):
            self._context.key_pool.log_unreadable()
            self._register()

    def revive(self) -> None:
        """Register this process' keys, and check each rejected one once; raise StoreError."""
        gate = self._register()
        for key in self._context.keys:
            is_excluded = any(f"{why}{key.id}" in gate for why in _EXCLUDED)
            if f"{_DEAD}{key.id}" in gate and not is_excluded and self._lives(key):
                self._context.store.run(maintenance.report_signal(Signal.key_alive(key.id)))
                _LOG.warning("provider key recovered", key_id=key.id, key=key.masked)

    def _register(self) -> dict[str, str]:
        """Register the keys; return the gate."""
        pool = self._context.key_pool
        return self._context.store.run(maintenance.register_keys(pool.keys, pool.unreadable))

    def _lives(self, key: ProviderKey) -> bool:
        try:
            self._context.provider.check_key(key.secret)
        except ProviderAuth as error:
            _LOG.error(
                "provider key is dead: replace it",
                key_id=key.id,
                key=key.masked,
                source=key.source.value,
                error=str(error),
            )
            return False
        except (JobError, Stopped):
            # that is not known: the next turn checks it again
            return False
        return True
