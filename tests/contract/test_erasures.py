"""Erasures end only when nothing is left, and delete nothing of a later tenant of the same name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from shared.api_keys import TENANT_SCOPES, new_key
from shared.errors import LostLease, TenantDeleting
from shared.history.search import JobFilter
from shared.store import (
    api_keys,
    archive,
    delivery_log,
    endpoints,
    erasures,
    job_submission,
    keys,
    tenants,
)
from shared.store.archive import DECIDE_MS
from shared.store.audit import AuditContext
from shared.store.command import Command
from shared.store.functions import DELETED_TENANT_MS
from shared.store.job_queries import Filter
from tests.support.history import HistoryWorld
from tests.support.store import FAR
from worker.eraser import CHUNK, Eraser

if TYPE_CHECKING:
    from shared.history.reader import HistoryReader


def audit_context() -> AuditContext:
    return AuditContext("test", "")


def eraser(history: HistoryWorld) -> Eraser:
    return Eraser(history.world.store, history.reader, history.world.store.now_ms)


def erase(history: HistoryWorld, one: Eraser | None = None) -> None:
    """Let erasures be carried out that wait, or whose worker is gone."""
    world = history.world
    for name in world.client.zrange(keys.erasures(), 0, -1):
        world.client.zadd(keys.erasures(), {str(name): 1})
    one = one or eraser(history)
    while one.erase():
        pass


def begin(history: HistoryWorld, tenant: str = "acme", *, found: int = 1) -> str:
    new = erasures.NewErasure(erasures.new_erasure_id(), tenant, Filter(), found)
    history.world.store.run(erasures.begin_erasure(new, api_key=""))
    return new.id


def create(history: HistoryWorld) -> str | None:
    call = tenants.create_tenant(audit_context(), "acme", {}, webhook_secret="whsec_")
    return history.world.store.run(call)


def begin_tenant(history: HistoryWorld) -> str | None:
    call = erasures.begin_tenant_erasure(audit_context(), erasures.new_erasure_id(), "acme")
    return history.world.store.run(call)


def is_done(history: HistoryWorld, erasure_id: str | None) -> bool:
    found = history.world.store.run(erasures.read_erasure(erasure_id or "", tenant=""))
    assert found is not None
    return found.finished_at is not None


def deleted(history: HistoryWorld, erasure_id: str) -> int:
    found = history.world.store.run(erasures.read_erasure(erasure_id, tenant=""))
    assert found is not None
    return found.deleted


def archived_job(history: HistoryWorld) -> str:
    job_id = history.world.accept()
    history.world.cancel(job_id)
    history.archive()
    assert history.is_archived(job_id)
    return job_id


@pytest.mark.parametrize("is_slow_once", [True, False])
def test_a_job_whose_deletion_came_too_late_is_deleted_again(
    history: HistoryWorld,
    is_slow_once: bool,  # noqa: FBT001  a case
) -> None:
    job_id, erasure_id = archived_job(history), begin(history)
    now_ms = history.world.store.now_ms
    times = iter([-2 * DECIDE_MS, *([0] * 99 if is_slow_once else [-2 * DECIDE_MS] * 99)])

    erase(history, Eraser(history.world.store, history.reader, lambda: now_ms() + next(times)))

    assert is_done(history, erasure_id) is is_slow_once
    erase(history)
    assert is_done(history, erasure_id)
    history.archive()
    assert not history.is_archived(job_id)


@dataclass
class BringsBack:
    """The reader of a history from which a client brings a job back, once, just before a search."""

    history: HistoryWorld
    job_id: str | None

    def images(self, wanted: JobFilter, limit: int) -> list[tuple[str, str | None]]:
        stored = self.job_id and self.history.reader.stored_job(self.job_id, "acme")
        if stored:
            self.history.world.store.run(archive.restore_job(*stored, not_after_ms=FAR))
        self.job_id = None
        return self.history.reader.images(wanted, limit)


def test_a_job_that_comes_back_during_an_erasure_is_deleted(history: HistoryWorld) -> None:
    job_id, erasure_id = archived_job(history), begin(history)
    reader = cast("HistoryReader", BringsBack(history, job_id))
    erase(history, Eraser(history.world.store, reader, history.world.store.now_ms))
    assert is_done(history, erasure_id)
    assert not history.is_live(job_id)
    history.archive()
    assert not history.is_archived(job_id)


REFUSED: tuple[Callable[[str], Command[object]], ...] = (
    lambda name: tenants.create_tenant(audit_context(), name, {}, webhook_secret="whsec_"),
    lambda name: tenants.set_limits(name, audit_context(), weight=2),
    lambda name: api_keys.add_api_key(audit_context(), name, new_key(), TENANT_SCOPES),
    lambda name: api_keys.rotate_api_key(
        audit_context(), name, "k", new_key(), grace_seconds=1, expires_at=None
    ),
    lambda name: endpoints.rotate_tenant_secret(audit_context(), name, "whsec_new"),
)


@pytest.mark.parametrize("write", REFUSED)
def test_until_a_tenant_is_deleted_nothing_is_written_for_it(
    history: HistoryWorld, write: Callable[[str], Command[object]]
) -> None:
    world = history.world
    create(history)
    begin_tenant(history)
    with pytest.raises(TenantDeleting, match="The tenant acme is being deleted"):
        world.store.run(write("acme"))
    assert world.store.run(erasures.delete_tenant("acme")) == "ok"
    with pytest.raises(TenantDeleting):
        world.store.run(write("acme"))


def test_an_erasure_that_continues_after_a_crash_leaves_the_next_tenant_alone(
    history: HistoryWorld,
) -> None:
    world = history.world
    create(history)
    erasure_id = begin_tenant(history)
    assert begin_tenant(history) == erasure_id
    # a worker dies after this step
    assert world.store.run(erasures.delete_tenant("acme")) == "ok"
    with pytest.raises(TenantDeleting):
        create(history)
    erase(history)
    assert is_done(history, erasure_id)
    assert 0 < world.client.pttl(keys.tenant("acme")) <= DELETED_TENANT_MS
    assert create(history) is None
    assert world.client.pttl(keys.tenant("acme")) == -1

    with pytest.raises(LostLease):
        world.store.run(erasures.report_erasure(erasure_id or "", deleted=0, lease_seconds=60))
    job_id = world.accept()
    erase(history)
    assert history.is_live(job_id)
    assert create(history) == "whsec_"


def test_erasures_take_turns(history: HistoryWorld) -> None:
    for _ in range(3 * CHUNK):
        history.world.cancel(history.world.accept())
    history.world.pass_a_millisecond()
    large = begin(history, found=3 * CHUNK)
    history.world.pass_a_millisecond()
    small = begin(history, "other")
    one = Eraser(history.world.store, history.reader, history.world.store.now_ms, turn_seconds=0)

    assert one.erase()
    assert (deleted(history, large), is_done(history, large)) == (CHUNK, False)
    assert one.erase()
    assert is_done(history, small)
    assert not is_done(history, large)

    while one.erase():
        pass
    assert (deleted(history, large), is_done(history, large)) == (3 * CHUNK, True)


def test_a_tenant_has_ten_erasures_in_progress_at_most(history: HistoryWorld) -> None:
    world = history.world
    first, *_ = [begin(history) for _ in range(erasures.ERASURES_MAX)]
    another = erasures.NewErasure(erasures.new_erasure_id(), "acme", Filter(), 1)
    call = erasures.begin_erasure(another, api_key="")
    assert world.store.run(call) == "full"
    begin(history, "other")

    world.store.run(erasures.report_erasure(first, deleted=0, is_done=True))

    assert [world.store.run(call), world.store.run(call)] == ["ok", "ok"]
    assert world.client.scard(keys.tenant_erasures("acme")) == erasures.ERASURES_MAX


def test_a_deleted_tenant_begins_nothing(history: HistoryWorld) -> None:
    world, key = history.world, new_key()
    create(history)
    world.store.run(api_keys.add_api_key(audit_context(), "acme", key, TENANT_SCOPES))
    new = erasures.NewErasure(erasures.new_erasure_id(), "acme", Filter(), 1)
    calls = (
        erasures.begin_erasure(new, api_key=key.id),
        endpoints.ensure_endpoint("acme", api_key=key.id, url="https://x/", host="x"),
    )
    begin_tenant(history)
    assert [world.store.run(call) for call in calls] == ["gone", "gone"]
    erase(history)
    create(history)
    assert [world.store.run(call) for call in calls] == ["gone", "gone"]
    assert world.client.keys("*endpoint*") == []


def test_a_deleted_key_creates_no_job_for_the_next_tenant_of_that_name(
    history: HistoryWorld,
) -> None:
    world, key = history.world, new_key()
    create(history)
    world.store.run(api_keys.add_api_key(audit_context(), "acme", key, TENANT_SCOPES))
    call = job_submission.accept(world.new_job(api_key=key.id), not_after_ms=FAR)
    begin_tenant(history)
    assert world.store.run(call) == job_submission.NotAccepted("tenant_gone")
    erase(history)
    assert world.store.run(call) == job_submission.NotAccepted("tenant_gone")
    create(history)
    assert world.store.run(call) == job_submission.NotAccepted("tenant_gone")
    world.accept()


def test_a_deleted_tenant_sets_no_secret_of_the_next_one_of_its_name(history: HistoryWorld) -> None:
    def rotate() -> str:
        call = endpoints.rotate_secret("acme", "whsec_known", api_key="the-key-of-the-first")
        return history.world.store.run(call)

    create(history)
    begin_tenant(history)
    assert rotate() == "gone"
    erase(history)
    assert rotate() == "gone"
    assert create(history) is None
    assert rotate() == "gone"
    assert history.world.store.run(endpoints.read_webhook_secret("acme")) == "whsec_"


def test_a_deleted_tenant_sends_no_test_event(history: HistoryWorld) -> None:
    def send(api_key: str = "the-key-of-the-first") -> str:
        call = delivery_log.send_test(
            "msg_t",
            tenant="acme",
            api_key=api_key,
            host="a.example",
            webhook={"url": "https://a.example/hook"},
            data={},
        )
        return history.world.store.run(call)

    create(history)
    begin_tenant(history)
    assert send() == "gone"
    erase(history)
    assert send() == "gone"
    assert create(history) is None
    assert send() == "gone"
    assert history.world.claim_delivery() is None
    assert send(api_key="") == "ok"


def test_the_endpoints_of_a_tenant_are_deleted_step_by_step(history: HistoryWorld) -> None:
    world = history.world
    create(history)
    for number in range(3):
        url = f"https://example.com/{number}"
        call = endpoints.ensure_endpoint("acme", api_key="", url=url, host="example.com")
        world.store.run(call)
    begin_tenant(history)
    assert world.store.run(erasures.delete_tenant("acme", most=2)) == "more"
    assert world.client.zcard(keys.endpoints("acme")) == 1
    assert world.store.run(erasures.delete_tenant("acme", most=2)) == "ok"
    assert world.client.keys("*ep_*") == []
