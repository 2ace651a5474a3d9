"""The provider keys that a worker process may use: those of its environment, then stored ones."""

from collections.abc import Iterable, Iterator, Sequence

from shared.logs import log
from shared.provider_keys import KeySource, ProviderKey, key_id_of
from shared.sealing import Seal, Unsealable
from shared.store.provider_keys import StoredKey

_LOG = log(__name__)


class KeyPool:
    """The keys of one process; `update` replaces the stored ones while threads read `keys`."""

    def __init__(self, of_environment: Sequence[ProviderKey], seal: Seal | None) -> None:
        """Take the keys of the environment; without a seal no stored key can be opened."""
        self._of_environment = tuple(of_environment)
        self._seal = seal
        self._stored: tuple[StoredKey, ...] = ()
        self.keys: tuple[ProviderKey, ...] = self._of_environment
        #: the ids of stored keys that none of the seal keys opens
        self.unreadable: tuple[str, ...] = ()

    def update(self, stored: tuple[StoredKey, ...]) -> bool:
        """Take the stored keys as they are now; return whether they have changed."""
        if stored == self._stored:
            return False
        own = {key.id for key in self._of_environment}
        opened = {key.id: key for key in self._open(one for one in stored if one.id not in own)}
        unreadable = tuple(one.id for one in stored if one.id not in own and one.id not in opened)
        self._stored = stored
        self.keys, self.unreadable = (*self._of_environment, *opened.values()), unreadable
        return True

    def log_unreadable(self) -> None:
        """Log an error if some stored keys cannot be opened."""
        if self.unreadable:
            _LOG.error(
                "stored provider keys cannot be opened: set DARKROOM_SEAL_KEYS to the keys that "
                "sealed them, or add them again",
                key_ids=self.unreadable,
            )

    def _open(self, stored: Iterable[StoredKey]) -> Iterator[ProviderKey]:
        for one in stored:
            try:
                secret = self._seal.open(one.sealed) if self._seal else ""
            except Unsealable:
                continue
            # a sealed value that was written over another key's is not used under that one's name
            if secret and key_id_of(secret) == one.id:
                yield ProviderKey(one.id, one.team, secret, KeySource.STORED)
