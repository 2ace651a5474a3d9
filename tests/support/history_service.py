"""A served API over Redis and a history, and short ways to put jobs into either."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from shared.jobs import Image
from shared.storage.client import Storage
from shared.store import archive, deliveries, keys, transitions
from shared.store.command import Command
from tests.support.api_server import ApiServer, client_of, served, settings, tenant_at
from tests.support.history import HistoryWorld
from tests.support.servers import S3Server
from tests.support.store import FAR
from worker.retention import RetentionCleaner

#: The tenant, which is also that of `World`.
TENANT = "acme"
#: What a worker records of an attempt that was answered.
ATTEMPT = {
    "number": 1,
    "at": "2026-01-31T12:00:00.000Z",
    "seconds": 0.1,
    "status": 200,
    "code": None,
    "error": None,
    "answer": None,
}
BYTES = bytes(range(256)) * 4


@dataclass(frozen=True)
class HistoryService:
    """An API with a history, the client of one tenant, and an operator's."""

    api: ApiServer
    operator: httpx.Client
    history: HistoryWorld
    s3: S3Server

    @property
    def client(self) -> httpx.Client:
        return self.api.client

    def end(self, status: str = "succeeded", **body: Any) -> str:
        """Create a job and bring it to its end; return its id."""
        job_id = str(self.api.create(**body)["id"])
        self.end_next(status, job_id)
        return job_id

    def end_next(self, status: str, job_id: str) -> None:
        """Bring the next job in line, which is this one, to its end."""
        if status == "canceled":
            assert self.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
            return
        held = self.history.world.claim()
        assert held.job.id == job_id
        if status == "failed":
            self.history.world.fail(held)
            return
        self.history.world.checkpoint(self.history.world.call(held))
        self.history.world.store.run(self._succeed(held))

    def _succeed(self, held: transitions.Claim) -> Command[None]:
        key = f"{TENANT}/2026/01/01/{held.job.id}-1.webp"
        self.s3.client().put_object(self.s3.bucket, key, io.BytesIO(BYTES), len(BYTES))
        sha256 = hashlib.sha256(BYTES).hexdigest()
        image = Image(key, "image/webp", 1344, 768, len(BYTES), sha256)
        return transitions.succeed(held, image, download=0.1, store=0.1)

    def deliver_next(self, outcome: str = "delivered") -> str:
        """Settle the next webhook in line; return the id of the delivery."""
        world = self.history.world
        delivery = world.delivery()
        world.store.run(deliveries.settle_delivery(delivery, outcome, attempt=ATTEMPT))
        return delivery.id

    def archive(self, *job_ids: str) -> None:
        """Move these final jobs to the history; all, if none are named."""
        if not job_ids:
            self.history.archive()
            return
        due = self.history.world.client
        due.zadd(keys.archive_due(), dict.fromkeys(job_ids, 1), xx=True)
        while self.history.archiver.archive():
            pass

    def restore(self, job_id: str) -> None:
        """Write an archived job back to Redis."""
        stored = self.history.reader.stored_job(job_id, TENANT)
        assert stored is not None
        call = archive.restore_job(*stored, not_after_ms=FAR)
        assert self.history.world.store.run(call) == "ok"

    def clean(self) -> None:
        """Delete the objects that are to be deleted."""
        redis_url = self.history.world.settings.redis_url
        storage = Storage.from_settings(settings(redis_url, s3_endpoint=self.s3.endpoint))
        cleaner = RetentionCleaner(self.history.world.store, storage)
        while cleaner.clean():
            pass
        storage.close()

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def is_only_archived(self, job_id: str) -> bool:
        return self.history.is_archived(job_id) and not self.history.is_live(job_id)

    def is_stored(self, key: str) -> bool:
        found = self.s3.client().list_objects(self.s3.bucket, key)
        return any(entry.object_name == key for entry in found)


@contextmanager
def history_service(
    redis_url: str, history_url: str, s3: S3Server, **changes: Any
) -> Iterator[HistoryService]:
    """Serve an API over an empty Redis and a history; `changes` are further settings."""
    chosen = {"webhook_allow_hosts": "127.0.0.1", "history_timeout_seconds": 20, **changes}
    with_history = {**chosen, "history_url": history_url}
    history = HistoryWorld(redis_url, history_url, **chosen)
    with (
        served(settings(redis_url, s3_endpoint=s3.endpoint, **with_history)) as url,
        tenant_at(url, redis_url, tenant=TENANT, **with_history) as api,
        client_of(url, api.credentials.ops_key) as operator,
    ):
        yield HistoryService(api, operator, history, s3)
    history.close()


def listed(
    client: httpx.Client,
    path: str = "/v1/jobs",
    between: Callable[[], None] = lambda: None,
    **query: Any,
) -> list[str]:
    """Return the ids of a list, read page by page; `between` is called between two pages."""
    ids: list[str] = []
    while True:
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        ids += [one["id"] for one in page["data"]]
        assert len(page["data"]) <= int(query.get("limit", 50))
        if page["next_cursor"] is None:
            return ids
        query["cursor"] = page["next_cursor"]
        between()
