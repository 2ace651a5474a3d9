"""Usage and the audit log in the history."""

import time
from dataclasses import replace

import pytest

from shared.history.writer import NotTheArchiver
from shared.store import (
    bulk,
    erasures,
    keys,
    run_counts,
)
from shared.store.audit import AuditContext, AuditFilter, read_audit
from shared.store.run_counts import Sums, day_at
from shared.store.usage import read_usage
from tests.support.archive import finished, spend, usage
from tests.support.history import HistoryWorld
from tests.support.run_counts import LAST, counted, let_days_pass


def test_the_usage_of_a_day_is_written_once_it_is_over(history: HistoryWorld) -> None:
    world = history.world
    finished(world, tags=("b", "a"), api_key="k1", credits=0.1)
    world.accept("other")
    world.fail(world.claim())
    history.write_usage()
    assert usage(history) == {}

    let_days_pass(world.client)
    before = counted(world)
    history.write_usage()

    assert usage(history) == before
    assert [*before.values()] == [Sums(1, 1, 100_000)]
    assert [*usage(history, "other").values()] == [Sums(1, 0, 0)]
    assert counted(world) == before, "it leaves Redis only by its expiry"
    assert history.reader.usage("", first=0, last=LAST, by=[]) == [((), Sums(2, 1, 100_000))]


def test_usage_that_was_written_and_not_recorded_is_written_again(history: HistoryWorld) -> None:
    finished(history.world)
    let_days_pass(history.world.client)
    before = counted(history.world)
    for _ in range(2):
        history.archiver.writer.begin()
        history.archiver.writer.write_usage([*before.items()])
    history.write_usage()
    history.write_usage()
    assert usage(history) == before


def test_usage_of_a_restored_backup_does_not_replace_what_was_written(
    history: HistoryWorld,
) -> None:
    world = history.world
    finished(world, tags=("a",), credits=0.1)
    let_days_pass(world.client)
    (backup,) = counted(world).items()
    kind = backup[0]
    written = Sums(3, 4, 300_000)
    history.archiver.writer.begin()
    history.archiver.writer.write_usage([(kind, written), (replace(kind, tags=("b",)), Sums(1))])
    history.write_usage()
    assert usage(history) == {kind: written, replace(kind, tags=("b",)): Sums(1)}

    # of each count the greater one: a backup may have one that was not written
    history.archiver.writer.write_usage([(kind, Sums(5, 1, 400_000))])
    assert usage(history)[kind] == Sums(5, 4, 400_000)


def erase_tags(history: HistoryWorld, tenant: str = "acme") -> None:
    """Delete the tags of a tenant's usage in Redis, as the eraser does."""
    call = erasures.erase_usage_tags(tenant, range(today(), today() - 10, -1))
    history.world.store.run(call)


def today() -> int:
    return day_at(round(time.time() * 1000))


def test_of_a_deleted_tenant_the_usage_stays_without_its_tags(history: HistoryWorld) -> None:
    world = history.world
    for tenant, tags in (("acme", ("a", "b")), ("acme", ("b",)), ("acme", ()), ("other", ("a",))):
        spend(world, tenant, *tags)
    let_days_pass(world.client)
    history.write_usage()
    spend(world, "acme", "a")
    spend(world, "acme")
    others = usage(history, "other")
    size = "combinations"

    erase_tags(history)
    history.archive()

    assert [(kind.tags, sums) for kind, sums in usage(history).items()] == [
        ((), Sums(3, 3, 300_000))
    ]
    assert sorted((kind.day, kind.tags, sums.jobs) for kind, sums in counted(world).items()) == [
        (today() - 2, (), 3),
        (today(), (), 2),
    ]
    assert world.client.hget(keys.run_counts("acme", today()), size) == "1"
    assert world.client.ttl(keys.run_counts("acme", today())) > 0
    assert usage(history, "other") == others
    assert [kind.tags for kind in counted(world, "other")] == [("a",)]
    (day,) = world.store.run(read_usage("acme", days=1)).days
    assert (day.total.calls, dict(day.tags)) == (5, {})
    assert not world.client.exists(keys.history_tenant_deletions())


def test_usage_without_tags_is_not_counted_twice_after_a_crash(history: HistoryWorld) -> None:
    world = history.world
    spend(world, "acme", "a")
    spend(world, "acme", "b")
    let_days_pass(world.client)
    history.archiver.writer.begin()
    # written, and then the process stops before it records that
    history.archiver.writer.write_usage([*counted(world).items()])
    erase_tags(history)
    assert world.store.run(run_counts.unwritten_run_counts(most=9)).names == ()

    for _ in range(2):
        history.write_usage()
        erase_tags(history)
        history.archive()
    assert [(kind.tags, sums) for kind, sums in usage(history).items()] == [
        ((), Sums(2, 2, 200_000))
    ]


def test_the_audit_keeps_of_a_deleted_tenant_that_it_happened_and_not_what(
    history: HistoryWorld,
) -> None:
    world = history.world

    def moved(tenant: str) -> None:
        context = AuditContext("key-1", "r")
        query = {"tenant": tenant, "tag": "secret"}
        world.store.run(
            bulk.bulk_transition(context, "cancel", [], deadline_seconds=9, query=query)
        )

    moved("acme")
    history.archive()
    moved("acme")
    moved("other")
    erase_tags(history)
    history.archive()

    found = history.reader.audit(AuditFilter(), 9)
    assert [(one.target, one.action, "secret" in str(one.detail)) for one in found] == [
        ("other", "jobs.cancel", True),
        ("acme", "jobs.cancel", False),
        ("acme", "jobs.cancel", False),
    ]
    # what is recorded later is about a new tenant of the same name
    moved("acme")
    history.archiver._next_audit = 0
    (newest,) = world.store.run(read_audit(limit=9)).entries
    assert "secret" in str(newest.detail)


def test_usage_of_many_days_and_tags_of_any_length_is_written(history: HistoryWorld) -> None:
    for day in range(12):
        finished(history.world, tags=tuple(f"{n}{day:x<62}" for n in range(10)))
        let_days_pass(history.world.client)
    history.write_usage()
    assert usage(history) == counted(history.world)
    assert len(usage(history)) == 12


def test_a_process_that_lost_its_turn_writes_no_usage(history: HistoryWorld) -> None:
    finished(history.world)
    let_days_pass(history.world.client)
    first = history.archiver
    first.writer.begin()
    history.new_archiver("worker-2").writer.begin()
    with pytest.raises(NotTheArchiver):
        first.writer.write_usage([*counted(history.world).items()])
    assert usage(history) == {}
