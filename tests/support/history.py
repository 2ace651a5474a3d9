"""The history on a real database, and an archiver that does not wait."""

from typing import Any

from shared.history.database import Database
from shared.history.reader import HistoryReader
from shared.history.writer import HistoryWriter
from shared.store import keys
from tests.support.store import World
from worker.archiver import Archiver

#: Seconds within which a query of a test responds, however busy the machine is.
TIMEOUT_SECONDS = 20


def database_at(url: str) -> Database:
    return Database(url, timeout_seconds=TIMEOUT_SECONDS, connections=4)


class HistoryWorld:
    """A store whose final jobs move to a history, and the archiver of one worker process."""

    def __init__(self, redis_url: str, history_url: str, **settings: Any) -> None:
        self.world = World(redis_url, history_url=history_url, **settings)
        self.database = database_at(history_url)
        self.reader = HistoryReader(self.database)
        self.archiver = self.new_archiver("worker-1")

    def new_archiver(self, worker: str, database: Database | None = None) -> Archiver:
        return Archiver(self.world.store, HistoryWriter(database or self.database), worker)

    def close(self) -> None:
        self.world.close()
        self.database.close()

    def come_due(self) -> None:
        """Let the time pass after which final jobs move to the history, and deleted ones leave."""
        for key in (keys.archive_due(), keys.history_deletions()):
            for job_id in self.world.client.zrange(key, 0, -1):
                self.world.client.zadd(key, {str(job_id): 1})

    def archive(self) -> None:
        """Move to the history what may move."""
        self.come_due()
        while self.archiver.archive():
            pass

    def write_usage(self) -> None:
        """Write the usage of days that are over, as if the archiver had not looked for long."""
        self.archiver._next_usage = 0
        self.archive()

    def move_audit(self) -> None:
        """Move audit entries that are a minute old, as if the archiver had not looked for long."""
        self.archiver._next_audit = 0
        self.archive()

    def end_retention(self) -> None:
        """Delete what is past its retention, as if the archiver had not looked for long."""
        self.archiver._next_retention = 0
        self.archive()

    def is_live(self, job_id: str) -> bool:
        return bool(self.world.client.exists(keys.job(job_id)))

    def is_archived(self, job_id: str) -> bool:
        return self.reader.job(job_id, "") is not None
