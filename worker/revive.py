"""Takes provider keys into use again that were found dead: a proxy's 403 kills no key for good.

The check is free: the record of an id that nobody has, which a good key may ask for.
"""

from shared.errors import JobError
from shared.logs import log
from shared.store import moves, upkeep
from shared.store.moves import Lesson
from worker.provider import Stopped
from worker.room import Room

_LOG = log(__name__)

INTERVAL_SECONDS = 15.0
_DEAD = "dead:"


class Reviver:
    """Asks about the dead ones among this process' keys."""

    def __init__(self, room: Room) -> None:
        """Take the keys, the provider and the store."""
        self._room = room

    def revive(self) -> None:
        """Ask about each dead key once; raises StoreError."""
        gate = self._room.store.run(upkeep.learn(moves.NOTHING))
        dead = [name.removeprefix(_DEAD) for name in gate if name.startswith(_DEAD)]
        for key_id in dead:
            if key_id in self._room.keys and self._lives(key_id):
                self._room.store.run(upkeep.learn(Lesson.living_key(key_id)))
                _LOG.warning("provider key is alive again", key_id=key_id)

    def _lives(self, key_id: str) -> bool:
        try:
            self._room.provider.check_key(self._room.keys[key_id])
        except Stopped:
            return False
        except JobError as error:
            _LOG.error(
                "provider key is dead: put another into DARKROOM_ONEMIN_API_KEY, or mend this one",
                key_id=key_id,
                error=str(error),
            )
            return False
        return True
