"""A store on a real Valkey, and short ways to put jobs into it."""

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import redis

from sandbox.wait import wait_until
from shared import ids
from shared.api_keys import OPS_SCOPES, new_key
from shared.batches import BatchSpec
from shared.celery_app import build_celery, build_scripts
from shared.errors import ProviderDown, ProviderRejected
from shared.jobs import (
    Image,
    Job,
    JobSpec,
    OnUnknown,
    Priority,
    ProviderResult,
    Retention,
    Status,
)
from shared.provider_keys import ProviderKey
from shared.settings import Settings
from shared.store import (
    api_keys,
    batches,
    deliveries,
    job_queries,
    job_submission,
    keys,
    maintenance,
    provisioning,
    tenants,
    transitions,
)
from shared.store.audit import AuditContext
from shared.store.bulk import find_jobs, search_of
from shared.store.client import Store
from shared.store.command import Command
from shared.store.connection import connect
from shared.store.durability import Replicas
from shared.store.job_queries import Filter, Page

FAR = 10**15
KEYS = (ProviderKey("key-a", "key-a", ""),)


def answer_of(job_id: str) -> ProviderResult:
    """Return the provider's answer to a job: none gets that of another."""
    url = f"https://storage.1min.ai/{job_id}.webp?signature=1"
    return ProviderResult(f"record-{job_id}", url, "t/2026/01/01/x-1")


IMAGE = Image("t/2026/01/01/x-1.webp", "image/webp", 1024, 1024, 5, "0" * 64)


@contextmanager
def memory_limit(client: redis.Redis, limit: int) -> Iterator[None]:
    """Set the memory limit of Redis for the block, because other tests use the same server."""
    own = str(client.config_get("maxmemory")["maxmemory"])
    client.config_set("maxmemory", limit)
    try:
        yield
    finally:
        client.config_set("maxmemory", own)


def _fits(pattern: str, name: str) -> bool:
    """Return whether a name is one of a pattern with `<parts>`; `[…]` may be left out."""
    parts = re.split(r"(<\w+>|\[|\])", pattern)
    words = {"[": "(?:", "]": ")?"}
    regex = "".join(
        ".*" if part.startswith("<") else words.get(part, re.escape(part)) for part in parts
    )
    return re.fullmatch(regex, name, re.DOTALL) is not None


def list_jobs(
    tenant: str, wanted: Filter | None = None, *, limit: int, scan_limit: int, **bounds: str | None
) -> Command[Page]:
    """List a tenant's jobs, newest first, within bounds of `Search`."""
    wanted = wanted or Filter()
    among = (wanted.status,) if wanted.status else tuple(Status)
    search = search_of(tenant, wanted, among, limit=limit, scan_limit=scan_limit)
    return find_jobs(replace(search, **bounds))  # type: ignore[arg-type]  # its bounds are text


class World:
    """One tenant's view of a store, with the operations of one worker."""

    def __init__(self, redis_url: str, **settings: Any) -> None:
        self.settings = Settings(
            **{"redis_url": redis_url, "provider_rate_per_minute": 0, **settings}
        )
        self.client = connect(self.settings, connections=40)
        self.scripts = build_scripts(self.settings, build_celery(self.settings))
        self.store = Store(self.client, self.scripts, Replicas.from_settings(self.settings))
        self._nonces = itertools.count()
        self._numbers = itertools.count()

    def close(self) -> None:
        self.store.close()

    def undocumented(self, most: int = 200) -> set[str]:
        """Return the keys and fields, of so many keys, that `shared.store.keys` does not know."""
        found = itertools.islice(self.client.scan_iter(f"{keys.PREFIX}*".replace("{", "[{]")), most)
        return {one for name in found for one in self._undocumented(str(name))}

    def _undocumented(self, name: str) -> Iterator[str]:
        if name.startswith(f"{keys.PREFIX}celery:"):
            return
        kind = str(self.client.type(name))
        kinds = {"zset": keys.ZSET, "hash": keys.HASH, "string": keys.STRING}
        fitting = [
            key for _, key in keys.all_keys() if _fits(key.pattern, name[len(keys.PREFIX) :])
        ]
        right = [key for key in fitting if key.type == kinds.get(kind, kind)]
        if not right:
            yield f"{name} ({kind})"
        elif kind == "hash":
            known = {field for key in right for field in key.fields}
            if keys.staged in right:
                known |= {*keys.job.fields}  # a staged job has the fields of a job
            for field in self.client.hkeys(name):
                if not any(_fits(one, str(field)) for one in known):
                    yield f"{name} {field!s}"

    def _new_id(self) -> str:
        """Name a job so that those of one millisecond sort in the order they were made."""
        letters = ids.time_letters(time.time_ns() // 1_000_000)
        return f"{ids.JOB_PREFIX}{letters}{next(self._numbers):016d}"

    def new_job(self, tenant: str = "acme", **changes: Any) -> job_submission.NewJob:
        spec = JobSpec(
            model=changes.pop("model", "m"),
            input={"prompt": "p", "seed": 7},
            webhook=changes.pop("webhook", None),
            on_unknown=changes.pop("on_unknown", OnUnknown.RETRY),
            metadata=changes.pop("metadata", {}),
            tags=changes.pop("tags", ()),
            retention=changes.pop("retention", Retention()),
            fallback_models=tuple(one.model for one in changes.get("fallbacks", ())),
        )
        return job_submission.NewJob(
            id=changes.pop("id", self._new_id()),
            tenant=tenant,
            spec=changes.pop("spec", spec),
            priority=changes.pop("priority", Priority.NORMAL),
            deadline_seconds=changes.pop("deadline_seconds", 3600),
            max_attempts=changes.pop("max_attempts", 5),
            **changes,
        )

    def accept(self, tenant: str = "acme", **changes: Any) -> str:
        job = self.new_job(tenant, **changes)
        answer = self.store.run(job_submission.accept(job, not_after_ms=FAR))
        assert isinstance(answer, job_submission.Accepted), answer
        return job.id

    def together(
        self, count: int, *, is_retry: bool = False, body: str = "body", **changes: Any
    ) -> job_submission.JobGroup:
        jobs = tuple(self.new_job(**changes) for _ in range(count))
        return job_submission.JobGroup(jobs, body, is_retry=is_retry, group_seconds=60)

    def stage(self, *chunks: Sequence[job_submission.NewJob], tenant: str = "acme") -> str:
        """Stage a batch, chunk by chunk; return its id."""
        batch_id = ids.batch_id()
        for number, jobs in enumerate(chunks):
            call = batches.stage_jobs(batch_id, tenant=tenant, number=number, jobs=jobs)
            assert self.store.run(call) is None
        return batch_id

    def commit(
        self, batch_id: str, size: int, *, tenant: str = "acme", **changes: Any
    ) -> batches.Committed | job_submission.NotAccepted:
        spec = changes.pop("spec", BatchSpec())
        new = batches.NewBatch(batch_id, tenant, spec, size, **changes)
        return self.store.run(batches.commit_batch(new, not_after_ms=FAR))

    def advance_batch(self, batch_id: str = "", **most: Any) -> int:
        """Advance a batch until it is done; return in how many steps."""
        for step in itertools.count(1):
            if (
                self.store.run(batches.advance_batch(batch_id, **most))
                is not batches.BatchWork.MORE
            ):
                return step
        raise AssertionError

    def batch(self, *jobs: job_submission.NewJob, tenant: str = "acme", **changes: Any) -> str:
        """Accept a batch whole; return its id."""
        batch_id = self.stage(jobs, tenant=tenant)
        answer = self.commit(batch_id, len(jobs), tenant=tenant, **changes)
        assert isinstance(answer, batches.Committed), answer
        self.advance_batch(batch_id)
        return batch_id

    def batch_state(self, batch_id: str, tenant: str = "acme") -> batches.BatchState | None:
        return self.store.run(batches.read_batch(batch_id, tenant=tenant))

    def try_claim(
        self,
        *,
        nonce: str | None = None,
        lease_seconds: float = 15,
        keys: Sequence[str | ProviderKey] = KEYS,
        isolated: bool = True,
    ) -> transitions.Claim | transitions.Closed | None:
        nonce = nonce or f"n{next(self._nonces)}"
        pool = [key if isinstance(key, ProviderKey) else ProviderKey(key, key, "") for key in keys]
        call = transitions.claim(nonce, lease_seconds=lease_seconds, keys=pool, isolated=isolated)
        return self.store.run(call)

    def claim(self, **how: Any) -> transitions.Claim:
        claim = self.try_claim(**how)
        assert isinstance(claim, transitions.Claim), claim
        return claim

    def call(self, held: transitions.Claim) -> transitions.Claim:
        self.store.run(transitions.start_call(held))
        return held

    def checkpoint(self, held: transitions.Claim) -> transitions.Claim:
        assert self.store.run(transitions.checkpoint(held, answer_of(held.job.id), seconds=0.5))
        return held

    def succeed(self, held: transitions.Claim) -> None:
        self.store.run(transitions.succeed(held, IMAGE, download=0.1, store=0.1))

    def succeed_and_claim(
        self, held: transitions.Claim, *, nonce: str | None = None
    ) -> transitions.Succeeded:
        succeed = transitions.succeed(held, IMAGE, download=0.1, store=0.1)
        nonce = nonce or f"n{next(self._nonces)}"
        call = transitions.succeed_and_claim(succeed, nonce, lease_seconds=15, keys=KEYS)
        return self.store.run(call)

    def retry(self, held: transitions.Claim, *, wait_seconds: float = 0, **how: Any) -> None:
        again = transitions.Requeue(wait_seconds, **how)
        self.store.run(transitions.requeue(held, ProviderDown("It is down."), again))

    def release(self, held: transitions.Claim) -> None:
        self.store.run(transitions.release(held))

    def fail(
        self, held: transitions.Claim, *, signal: transitions.Signal = transitions.NO_SIGNAL
    ) -> None:
        self.store.run(transitions.fail(held, ProviderRejected("It will not."), signal=signal))

    def cancel(self, job_id: str, tenant: str = "acme") -> Job | Status | None:
        return self.store.run(job_submission.cancel(job_id, tenant=tenant))

    def finish(self, held: transitions.Claim) -> None:
        if held.job.answer is None:
            self.checkpoint(self.call(held))
        self.succeed(held)

    def limit(self, tenant: str = "acme", **limits: float | str | None) -> None:
        self.store.run(tenants.set_limits(tenant, **limits))

    def rescue(self) -> maintenance.SweepResult:
        """Sweep as if every expired lease had expired long ago."""
        # in the millisecond of the previous sweep, workers still have time to renew their leases
        self.pass_a_millisecond()
        swept = self.sweep(lease_seconds=0)
        assert swept is not None
        return swept

    def lose_lease(self, job_id: str, queue: str = "jobs") -> None:
        self.client.zadd(keys.queue_leases(queue), {job_id: 0}, xx=True)

    def come_due(self, member: str, queue: str = "jobs") -> None:
        self.client.zadd(keys.queue_due(queue), {member: 0}, xx=True)

    def pass_a_millisecond(self) -> None:
        """Wait until Redis' clock shows the next millisecond."""

        def now_ms() -> int:
            seconds, micros = self.client.time()
            return int(seconds) * 1000 + int(micros) // 1000

        before = now_ms()
        wait_until(lambda: now_ms() > before, "the next millisecond")

    def let_deadline_pass(self, *job_ids: str) -> None:
        """Write into the records that the deadlines have passed; no sweep sees it yet."""
        for job_id in job_ids:
            self.client.hset(keys.job(job_id), "deadline", 1)

    def pass_deadline(self, job_id: str) -> None:
        self.client.zadd(keys.deadlines(), {job_id: 0}, xx=True)

    def claim_delivery(
        self, *, nonce: str | None = None, lease_seconds: float = 15
    ) -> deliveries.Delivery | transitions.Closed | None:
        nonce = nonce or f"n{next(self._nonces)}"
        return self.store.run(deliveries.claim_delivery(nonce, lease_seconds=lease_seconds))

    def delivery(self, **how: Any) -> deliveries.Delivery:
        delivery = self.claim_delivery(**how)
        assert isinstance(delivery, deliveries.Delivery), delivery
        return delivery

    def settle(
        self,
        delivery: deliveries.Delivery,
        word: str,
        *,
        wait_seconds: float = 0,
        in_time: bool | None = None,
    ) -> None:
        call = deliveries.settle_delivery(
            delivery, word, wait_seconds=wait_seconds, in_time=in_time
        )
        self.store.run(call)

    def again(self, job_id: str, *, tenant: str = "acme") -> object:
        return self.store.run(job_submission.rerun(job_id, tenant=tenant, deadline_seconds=3600))

    def delete_job(self, job_id: str, *, tenant: str = "acme") -> object:
        return self.store.run(job_submission.delete_job(job_id, tenant=tenant))

    def object_deletions(self) -> dict[str, float]:
        """Return what is to be deleted, and from which millisecond on."""
        found: Any = self.client.zrange(keys.object_deletions(), 0, -1, withscores=True)
        return {str(name): float(at) for name, at in found}

    def sweep(
        self, *, lease_seconds: float = 15, worker: str = "w"
    ) -> maintenance.SweepResult | None:
        return self.store.run(
            maintenance.sweep(worker, lock_seconds=5, lease_seconds=lease_seconds, most=100)
        )

    def read(self, job_id: str, tenant: str = "acme") -> job_queries.QueuedJob:
        queued_job = self.store.run(job_queries.read_job(job_id, tenant=tenant))
        assert queued_job is not None
        return queued_job

    def permits(self, queue: str = "generate") -> int:
        return int(self.client.llen(f"{{dr}}:celery:{queue}"))


def redis_of(world: World) -> "redis.Redis":
    return world.client


@dataclass(frozen=True)
class Opened:
    """What a tenant's programs, and an operator, need."""

    tenant: str
    api_key: str
    ops_key: str
    webhook_secret: str


def open_with_ops_key(store: Store, name: str) -> Opened:
    """Create a tenant with every right, and a key for `/ops`."""
    limits = {"may_disable_safety": True}
    made = provisioning.provision_tenant(store, name, by="test", limits=limits)
    ops = new_key()
    store.run(api_keys.add_api_key(AuditContext("test", ""), name, ops, OPS_SCOPES))
    return Opened(made.tenant, made.api_key, ops.text, made.webhook_secret)
