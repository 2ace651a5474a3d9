"""The cleanup thread: jobs and images past their retention, and objects without an owner.

A job is deleted in one step that schedules its image for deletion; a key leaves the schedule only
once the storage has deleted it. So nothing is left behind, whenever the process stops. All worker
processes may do this at once: deleting twice does no harm.
"""

import random
from collections.abc import Sequence
from itertools import chain

from shared.errors import StorageDown
from shared.logs import log
from shared.storage.client import ObjectStore
from shared.storage.object_names import with_preview
from shared.store import maintenance
from shared.store.client import Store
from worker import job_telemetry

_LOG = log(__name__)

INTERVAL_SECONDS = 1.0
#: Jobs, and images of jobs, deleted in one script, so that Redis is never blocked for long.
MOST_JOBS = 100
#: Images deleted in one request, each with its preview; S3 accepts up to a thousand objects.
MOST_OBJECTS = 500


class RetentionCleaner:
    """Delete in batches."""

    def __init__(
        self, store: Store, storage: ObjectStore, most_objects: int = MOST_OBJECTS
    ) -> None:
        """Take the store and the storage."""
        self._store = store
        self._storage = storage
        self._most_objects = most_objects

    def clean(self) -> bool:
        """Delete one batch; return whether there may be more."""
        expired = self._store.run(maintenance.delete_expired(most=MOST_JOBS))
        deleted = self._delete_objects()
        if expired or deleted:
            _LOG.info("expired jobs and objects deleted", expired=expired, objects=deleted)
        return expired >= MOST_JOBS or deleted == self._most_objects

    def _delete_objects(self) -> int:
        keys = self._store.run(maintenance.object_deletions(most=self._most_objects))
        if not keys:
            return 0
        gone = self._delete(keys)
        self._store.run(maintenance.object_deletions(gone, most=0))
        if refused := sorted({*keys}.difference(gone)):
            self._store.run(maintenance.postpone_object_deletions(refused))
        return len(gone)

    def _delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete images with their previews, and return those that are gone.

        One of them is checked afterwards.
        """
        with job_telemetry.storage("delete"):
            left = frozenset(self._storage.delete(chain.from_iterable(map(with_preview, keys))))
            gone = [key for key in keys if left.isdisjoint(with_preview(key))]
            if gone and self._storage.is_there(random.choice(gone)):  # noqa: S311  not a secret
                raise StorageDown("The storage still has an object that it reported as deleted.")
        if left:
            job_telemetry.not_deleted(len(left))
        return gone
