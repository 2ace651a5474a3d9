"""Write the audit log to the process's own log, for collectors that read standard output.

Each entry is written once by one of the workers; after a crash it may be written twice, with the
same `entry`.
"""

from shared.logs import log
from shared.store.audit import Entry, record_logged_audit, unlogged_audit
from shared.store.client import Store

_LOG = log(__name__)

INTERVAL_SECONDS = 1.0
#: How many entries are read at once, and how long a process has to write them.
MOST_ENTRIES = 100
TURN_SECONDS = 10.0


class AuditLog:
    """Write entries as they come."""

    def __init__(self, store: Store) -> None:
        """Read them from the store."""
        self._store = store

    def write(self) -> None:
        """Write all entries that no process has written yet. Raise StoreError."""
        while entries := self._store.run(unlogged_audit(most=MOST_ENTRIES, turn=TURN_SECONDS)):
            for entry in entries:
                _write(entry)
            self._store.run(record_logged_audit(entries[-1].id))


def _write(entry: Entry) -> None:
    _LOG.info(
        "audit recorded",
        entry=str(entry.id),
        by=entry.by,
        action=entry.action,
        target=entry.target,
        detail=dict(entry.detail),
        request_id=entry.request_id or None,
    )
