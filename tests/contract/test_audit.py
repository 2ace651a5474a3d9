"""The audit log between Redis and the history: every entry is listed once, wherever it is."""

from contextlib import closing

import pytest
from sqlalchemy import select

from shared.errors import HistoryDown
from shared.history.tables import audit as audit_table
from shared.history.writer import NotTheArchiver
from shared.store import bulk, functions, keys, maintenance
from shared.store.audit import (
    SCAN_LIMIT,
    AuditContext,
    AuditFilter,
    AuditPage,
    Entry,
    EntryId,
    archivable_audit,
    read_audit,
    remove_archived_audit,
)
from tests.support.history import HistoryWorld
from tests.support.postgres import PostgresServer
from tests.support.store import World

ALL = AuditFilter()


def record(
    world: World, at: int, by: str = "key-1", target: str = "generate", detail: str = "{}"
) -> EntryId:
    """Record an entry of a time (ms); entries are recorded in the order of their times."""
    fields = {"by": by, "request": "r", "action": "queue.pause", "target": target, "detail": detail}
    written = world.client.xadd(keys.audit(), dict(fields.items()), id=f"{at}-*")
    return EntryId(*map(int, str(written).split("-")))


def read(world: World, wanted: AuditFilter = ALL, limit: int = 50) -> AuditPage:
    return world.store.run(read_audit(wanted, limit=limit))


def ids(entries: tuple[Entry, ...] | list[Entry]) -> list[EntryId]:
    return [entry.id for entry in entries]


def archived(history: HistoryWorld, wanted: AuditFilter = ALL) -> list[EntryId]:
    return ids(history.reader.audit(wanted, 1000))


def due(history: HistoryWorld) -> tuple[Entry, ...]:
    return history.world.store.run(archivable_audit(most=10))


def test_entries_move_once_they_are_a_minute_old_and_read_the_same(history: HistoryWorld) -> None:
    world = history.world
    first, second = record(world, 1000), record(world, 1000, by="cli:eve")
    world.store.run(bulk.pause(AuditContext("key-2", "request-1"), "deliver"))
    new, *old = read(world).entries

    history.move_audit()

    assert archived(history) == [second, first]
    assert history.reader.audit(ALL, 9) == old
    assert read(world).entries == (new,)
    history.move_audit()
    assert archived(history) == [second, first]


def test_more_entries_than_one_transaction_has_move_in_one_go(history: HistoryWorld) -> None:
    written = [record(history.world, 1000 + number) for number in range(1001)]
    history.move_audit()
    assert read(history.world).entries == ()
    assert ids(history.reader.audit(ALL, 2000)) == written[::-1]


def test_each_step_can_be_repeated_after_a_crash(history: HistoryWorld) -> None:
    world, writer = history.world, history.archiver.writer
    written = [record(world, 1000 + number) for number in range(3)]
    entries = due(history)
    for _ in range(2):
        writer.begin()
        writer.write_audit(entries)
    assert ids(read(world).entries) == archived(history) == written[::-1]

    # the process stops here: its successor begins with the same entries
    assert due(history) == entries
    assert world.store.run(remove_archived_audit(entries)) == 3
    assert world.store.run(remove_archived_audit(entries)) == 0
    assert read(world).entries == due(history) == ()
    assert archived(history) == written[::-1]


def test_an_entry_that_is_recorded_during_a_move_stays(history: HistoryWorld) -> None:
    world = history.world
    old = record(world, 1000)
    history.archiver.writer.begin()
    entries = due(history)
    history.archiver.writer.write_audit(entries)
    new = record(world, 2000)
    world.store.run(remove_archived_audit(entries))
    assert ids(read(world).entries) == [new]
    assert archived(history) == [old]


def test_a_process_that_lost_its_turn_moves_no_entry(history: HistoryWorld) -> None:
    entry = record(history.world, 1000)
    first = history.archiver
    first.writer.begin()
    history.new_archiver("worker-2").writer.begin()
    with pytest.raises(NotTheArchiver):
        first.writer.write_audit(due(history))
    assert ids(read(history.world).entries) == [entry]
    assert archived(history) == []


def test_an_entry_is_never_overwritten(history: HistoryWorld) -> None:
    writer = history.archiver.writer
    writer.begin()
    entry = Entry(EntryId(1000, 0), "eve", "r", "key.create", "acme", {})
    writer.write_audit([entry])
    writer.write_audit([Entry(EntryId(1000, 0), "bob", "r", "key.create", "acme", {})])
    assert history.reader.audit(ALL, 9) == [entry]


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> int:
    """Limit the entries that are kept without a history; Redis trims whole nodes of 100."""
    most = 100
    monkeypatch.setitem(functions._FIXED, "audit_entries", most)
    return most


def test_without_a_history_the_newest_entries_are_kept(empty_redis_url: str, few_kept: int) -> None:
    with closing(World(empty_redis_url)) as world:
        written = [record(world, 1000 + number) for number in range(few_kept * 3)]
        world.store.run(maintenance.delete_expired(most=10))
        left = ids(read(world, limit=1000).entries)
        assert left == written[::-1][: len(left)]
        assert few_kept <= len(left) < 3 * few_kept


def test_with_a_history_no_entry_is_dropped_before_it_is_written(
    empty_redis_url: str, postgres: PostgresServer, few_kept: int
) -> None:
    url = postgres.create("away")
    with closing(HistoryWorld(empty_redis_url, url)) as history:
        world = history.world
        history.archive()
        written = [record(world, 1000 + number) for number in range(few_kept * 3)]
        postgres.child.kill()
        try:
            with pytest.raises(HistoryDown):
                history.move_audit()
            world.store.run(bulk.pause(AuditContext("key-1", "r"), "deliver"))
            world.store.run(maintenance.delete_expired(most=10))
            # a command that knows no history writes to the same log
            with closing(World(empty_redis_url)) as command:
                command.store.run(bulk.resume(AuditContext("cli:eve", "r"), "deliver"))
            live = ids(read(world, limit=1000).entries)
            assert live[2:] == written[::-1]
        finally:
            postgres.start()
        world.client.delete(keys.archiver())
        history.archiver = history.new_archiver("worker-2")
        history.move_audit()
        assert ids(read(world).entries) == live[:2]
        assert archived(history) == written[::-1]


def test_entries_are_found_by_action_target_author_and_time(history: HistoryWorld) -> None:
    world = history.world
    early = record(world, 1000, target="shop")
    middle = record(world, 2000, by="cli:eve")
    late = record(world, 3000, target="shop")
    cases: tuple[tuple[AuditFilter, list[EntryId]], ...] = (
        (AuditFilter(), [late, middle, early]),
        (AuditFilter(action="queue.pause"), [late, middle, early]),
        (AuditFilter(action="key.revoke"), []),
        (AuditFilter(target="shop"), [late, early]),
        (AuditFilter(by="cli:eve"), [middle]),
        (AuditFilter(by="cli:eve", target="shop"), []),
        (AuditFilter(after=1000), [late, middle]),
        (AuditFilter(before=3000), [middle, early]),
        (AuditFilter(after=1000, before=3000), [middle]),
        (AuditFilter(after=3000, before=1000), []),
        (AuditFilter(after=-5), [late, middle, early]),
        (AuditFilter(before=-5), []),
        (AuditFilter(before=0), []),
        (AuditFilter(target="shop", below=late), [early]),
    )
    found = [(ids(read(world, wanted).entries), expected) for wanted, expected in cases]
    assert [one for one, _ in found] == [expected for _, expected in found]
    history.move_audit()
    assert [archived(history, wanted) for wanted, _ in cases] == [one for _, one in cases]


def test_a_filter_that_finds_little_continues_where_the_scan_ended(history: HistoryWorld) -> None:
    world = history.world
    oldest = record(world, 1, target="shop")
    for number in range(SCAN_LIMIT):
        record(world, 1000 + number)
    wanted = AuditFilter(target="shop")
    page = read(world, wanted)
    assert (page.entries, page.below) == ((), EntryId(1000, 0))
    page = read(world, AuditFilter(target="shop", below=page.below))
    assert (ids(page.entries), page.below) == ([oldest], None)


@pytest.mark.parametrize("column", ["action", "target", "by"])
def test_a_filter_of_the_audit_uses_an_index(history: HistoryWorld, column: str) -> None:
    database = history.database
    history.move_audit()
    chosen = select(audit_table).where(audit_table.c[column] == "x")
    chosen = chosen.order_by(audit_table.c.at.desc(), audit_table.c.number.desc()).limit(50)
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    written = chosen.compile(database.engine, compile_kwargs={"literal_binds": True})
    with database.writing() as connection:
        if not database.is_sqlite:
            # on few rows the planner would not take it
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        plan = str(connection.exec_driver_sql(f"{explain} {written}").all())
    assert f"audit_by_{'author' if column == 'by' else column}" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("detail", ["{broken", "[1]"])
def test_an_entry_that_cannot_be_read_holds_up_no_others(
    history: HistoryWorld, detail: str
) -> None:
    unreadable = record(history.world, 5, detail=detail)
    good = record(history.world, 6)
    assert ids(read(history.world).entries) == [good, unreadable]

    history.move_audit()

    assert archived(history) == [good, unreadable]
    assert history.reader.audit(ALL, 10)[1].detail == {"unreadable": detail}
