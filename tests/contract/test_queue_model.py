"""Any sequence of moves against a small model: who is where, and what may be claimed."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.errors import LostLease
from shared.jobs import Job, Priority
from shared.store import deliveries, delivery_log, endpoints, keys, maintenance, transitions
from tests.support.queue_invariants import assert_true
from tests.support.store import World

GROUPS = ("a", "b", "c")
CAPS = st.one_of(st.none(), st.integers(0, 2))
ANY = st.integers(0, 10**6)
EVENTS = ["job.started", "job.succeeded", "job.failed"]


class Queue(RuleBasedStateMachine):
    """Knows of each job only its group and where it is; Redis must agree after every step."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.client.flushall()
        self.caps: dict[str, int | None] = dict.fromkeys(GROUPS)
        self.group: dict[str, str] = {}
        self.ready: set[str] = set()
        self.bought: set[str] = set()
        self.isolated: set[str] = set()
        self.doubtful: set[str] = set()
        self.due: dict[str, bool] = {}
        self.held: dict[str, transitions.Claim] = {}
        self.checkpointed: set[str] = set()
        self.lost: list[transitions.Claim] = []
        self.worker_losses: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.calling: set[str] = set()
        self.sending: list[deliveries.Delivery] = []

    def teardown(self) -> None:
        for job_id, group in self.group.items():
            self.world.cancel(job_id, group)
        while isinstance(found := self.world.claim_delivery(), deliveries.Delivery):
            self.sending.append(found)
            self.world.settle(self.sending.pop(0), "delivered")
        for delivery in self.sending:
            self.world.settle(delivery, "failed")
        assert_true(self.world)
        assert self.world.client.zcard(keys.queue_leases("jobs")) == 0
        assert self.world.client.zcard(keys.queue_active("jobs", "m")) == 0
        assert int(self.world.client.hget(keys.queue_state("jobs"), "claimable") or 0) == 0

    # what clients and operators do

    @rule(
        group=st.sampled_from(GROUPS),
        priority=st.sampled_from(list(Priority)),
        host=st.sampled_from(["", "hook", "other"]),
    )
    def accept(self, group: str, priority: Priority, host: str) -> None:
        hook: dict[str, Any] = {"url": f"https://{host}", "events": EVENTS}
        webhook = {"webhook": hook, "webhook_host": host} if host else {}
        job_id = self.world.accept(group, priority=priority, **webhook)
        self.group[job_id] = group
        self.ready.add(job_id)

    @precondition(lambda self: self.group)
    @rule(which=ANY)
    def cancel(self, which: int) -> None:
        job_id = sorted(self.group)[which % len(self.group)]
        assert isinstance(self.world.cancel(job_id, self.group[job_id]), Job)
        self._delete(job_id)

    @rule(group=st.sampled_from(GROUPS), cap=CAPS, weight=st.sampled_from([0.5, 1, 3]))
    def limit(self, group: str, cap: int | None, weight: float) -> None:
        self.world.limit(group, max_running=cap, weight=weight)
        self.caps[group] = cap

    # what workers do

    @rule(again=st.booleans(), isolated=st.booleans())
    def claim(self, again: bool, isolated: bool) -> None:  # noqa: FBT001
        nonce = f"claim-{len(self.lost)}-{self.world.client.incr('nonce')}"
        found = self.world.try_claim(nonce=nonce, isolated=isolated)
        if again:
            assert self.world.try_claim(nonce=nonce, isolated=isolated) == found or found is None
        self._note_claimed(found, isolated=isolated)

    def _note_claimed(
        self, found: transitions.Claim | transitions.Closed | None, *, isolated: bool
    ) -> None:
        may = self._may_be_claimed(isolated=isolated)
        if not may:
            assert found is None
            return
        assert isinstance(found, transitions.Claim)
        assert found.job.id in may
        assert found.isolated == (found.job.id in self.doubtful)
        for place in (self.bought, self.ready, self.isolated):
            place.discard(found.job.id)
        self.held[found.job.id] = found

    @precondition(lambda self: self.held)
    @rule(which=ANY, claims_next=st.booleans())
    def take_a_step(self, which: int, claims_next: bool) -> None:  # noqa: FBT001
        held = self._any(which)
        if held.job.id in self.checkpointed:
            found = None
            if claims_next:
                found = self.world.succeed_and_claim(held).next
            else:
                self.world.succeed(held)
            del self.held[held.job.id]
            self._delete(held.job.id)
            if claims_next:
                self._note_claimed(found, isolated=False)
        elif held.job.id in self.calling:
            self.world.checkpoint(held)
            self.calling.discard(held.job.id)
            self.checkpointed.add(held.job.id)
            self.worker_losses.pop(held.job.id, None)
            self.doubtful.discard(held.job.id)
        else:
            self.world.call(held)
            self.calling.add(held.job.id)

    @precondition(lambda self: self.held)
    @rule(which=ANY, wait=st.sampled_from([0, 3600]), regenerate=st.booleans(), twice=st.booleans())
    def retry(self, which: int, wait: int, regenerate: bool, twice: bool) -> None:  # noqa: FBT001
        held = self._any(which)
        for _ in range(1 + twice):
            self.world.retry(held, wait_seconds=wait, regenerate=regenerate)
        if regenerate:
            self.checkpointed.discard(held.job.id)
            self.unknown[held.job.id] = self.unknown.get(held.job.id, 0) + 1
        self._requeue(held.job.id, due=wait > 0)

    @precondition(lambda self: self.held)
    @rule(which=ANY)
    def release(self, which: int) -> None:
        held = self._any(which)
        self.world.release(held)
        self._requeue(held.job.id)

    @precondition(lambda self: self.held)
    @rule(which=ANY)
    def fail(self, which: int) -> None:
        held = self._any(which)
        self.world.fail(held)
        del self.held[held.job.id]
        self._delete(held.job.id)

    @precondition(lambda self: self.lost)
    @rule(which=ANY, move=st.sampled_from(["call", "checkpoint", "succeed", "retry", "fail"]))
    def come_late(self, which: int, move: str) -> None:
        held = self.lost[which % len(self.lost)]
        with pytest.raises(LostLease):
            getattr(self.world, move)(held)

    # what time does

    @precondition(lambda self: self.held)
    @rule(which=ANY)
    def lose_worker(self, which: int) -> None:
        held = self._any(which)
        job_id = held.job.id
        self.world.lose_lease(job_id)
        assert len(self.world.rescue().rescued) == 1
        self.lost.append(held)
        self.worker_losses[job_id] = self.worker_losses.get(job_id, 0) + 1
        if job_id in self.calling:
            self.unknown[job_id] = self.unknown.get(job_id, 0) + 1
        if self.worker_losses[job_id] == 3 or (job_id in self.calling and self.unknown[job_id] > 1):
            self._delete(job_id)
        else:
            self.doubtful.add(job_id)
            self._requeue(job_id)

    @precondition(lambda self: self.due)
    @rule(which=ANY)
    def come_due(self, which: int) -> None:
        job_id = sorted(self.due)[which % len(self.due)]
        self.world.come_due(job_id)
        self.world.sweep()
        self._requeue(job_id)

    @precondition(lambda self: self.group)
    @rule(which=ANY)
    def pass_deadline(self, which: int) -> None:
        job_id = sorted(self.group)[which % len(self.group)]
        self.world.pass_deadline(job_id)
        self.world.sweep()
        if job_id not in self.calling:
            self._delete(job_id)

    # webhooks

    @rule(
        word=st.sampled_from(["delivered", "failed", "retry", "release", "gone", "hold", "crash"]),
        in_time=st.sampled_from([None, True, False]),
    )
    def deliver(self, word: str, in_time: bool | None) -> None:  # noqa: FBT001
        found = self.world.claim_delivery()
        if not isinstance(found, deliveries.Delivery):
            return
        if word == "crash":
            self.world.lose_lease(found.id, "deliveries")
            assert self.world.rescue().rescued == ("delivery",)
        elif word == "hold":
            self.sending.append(found)
        else:
            self.world.settle(found, word, in_time=in_time)

    @rule(threads=st.integers(0, 4))
    def count_threads(self, threads: int) -> None:
        call = maintenance.renew("d", queue="deliver", threads=threads, lease_seconds=60, held=[])
        self.world.store.run(call)
        self.world.sweep()

    @rule(word=st.sampled_from(["enable", "probe", "due", "again"]), group=st.sampled_from(GROUPS))
    def sweep_endpoints(self, word: str, group: str) -> None:
        world = self.world
        if word == "again":
            call = delivery_log.redeliver_failed(group, since=0, until=None, most=2)
            assert world.store.run(call) == world.store.run(call)
        elif word == "enable":
            for one in world.store.run(endpoints.list_endpoints(group, limit=9)).endpoints:
                assert world.store.run(endpoints.enable_endpoint(one.id, tenant=group))
        else:
            name = keys.endpoint_probes() if word == "probe" else keys.queue_due("deliveries")
            for member in map(str, world.client.zrange(name, 0, -1)):
                world.client.zadd(name, {member: 1})
            world.sweep()

    @precondition(lambda self: self.group)
    @rule(which=ANY)
    def cancel_and_delete(self, which: int) -> None:
        job_id = sorted(self.group)[which % len(self.group)]
        group = self.group[job_id]
        self.cancel(which)
        assert self.world.delete_job(job_id, tenant=group) is True
        self.sending = [one for one in self.sending if not (one.job and one.job.id == job_id)]
        self.lost = [held for held in self.lost if held.job.id != job_id]

    @precondition(lambda self: self.sending)
    @rule()
    def settle_late(self) -> None:
        self.world.settle(self.sending.pop(), "delivered")

    @invariant()
    def redis_agrees(self) -> None:
        assert_true(self.world)
        client = self.world.client
        assert set(client.zrange(keys.queue_paid("jobs"), 0, -1)) == self.bought
        assert set(client.zrange(keys.queue_isolated("jobs"), 0, -1)) == self.isolated
        assert set(client.zrange(keys.queue_due("jobs"), 0, -1)) == set(self.due)
        assert set(client.zrange(keys.queue_leases("jobs"), 0, -1)) == set(self.held)
        ready = [set(client.zrange(keys.queue_ready("jobs", one, "m"), 0, -1)) for one in GROUPS]
        assert set().union(*ready) == self.ready

    def _any(self, which: int) -> transitions.Claim:
        return self.held[sorted(self.held)[which % len(self.held)]]

    def _may_be_claimed(self, *, isolated: bool) -> set[str]:
        """Say which may be claimed now: what comes first in the order of places."""
        if self.bought:
            return self.bought
        free = {one for one in self.isolated if one in self.checkpointed or self._is_free(one)}
        return free if isolated and free else {one for one in self.ready if self._is_free(one)}

    def _is_free(self, job_id: str) -> bool:
        group = self.group[job_id]
        cap = self.caps[group]
        return cap is None or sum(self.group[one] == group for one in self.held) < cap

    def _requeue(self, job_id: str, *, due: bool = False) -> None:
        self.held.pop(job_id, None)
        self.due.pop(job_id, None)
        self.calling.discard(job_id)
        if due:
            self.due[job_id] = True
        else:
            self._queue_of(job_id).add(job_id)

    def _queue_of(self, job_id: str) -> set[str]:
        if job_id in self.doubtful:
            return self.isolated
        return self.bought if job_id in self.checkpointed else self.ready

    def _delete(self, job_id: str) -> None:
        if job_id in self.held:
            self.lost.append(self.held.pop(job_id))
        for place in (self.ready, self.bought, self.isolated, self.checkpointed, self.calling):
            place.discard(job_id)
        self.due.pop(job_id, None)
        del self.group[job_id]


@pytest.fixture
def machine(diskless_redis_url: str) -> Iterator[type[Queue]]:
    world = World(diskless_redis_url, webhook_max_per_host=1)
    yield type("Queue", (Queue,), {"world": world})
    world.close()


def run(machine: type[Queue], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_redis_agrees_with_the_model_after_every_step(machine: type[Queue]) -> None:
    run(machine, examples=10, steps=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_redis_agrees_with_the_model_over_ten_thousand_steps(machine: type[Queue]) -> None:
    run(machine, examples=200, steps=100)
