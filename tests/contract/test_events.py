"""The feed: every change of a status, in order, from wherever one stopped, for seven days."""

from shared.store import events, keys
from shared.store.events import CURSOR_LAG_MS
from tests.support.store import World

WEEK_MS = 7 * 86_400_000


def read(
    world: World, after: str | None = None, most: int = 100, tenant: str = "acme"
) -> events.EventPage:
    page = world.store.run(events.read_events(tenant, after=after, most=most))
    assert page is not None
    return page


def statuses(page: events.EventPage) -> list[str]:
    return [one.fields["status"] for one in page.events]


def now_ms(world: World) -> int:
    seconds, micros = world.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_each_change_is_told_once_in_order(world: World) -> None:
    world.accept()
    world.finish(world.claim())
    first = read(world, most=2)
    second = read(world, first.after)
    assert statuses(first) + statuses(second) == ["queued", "running", "succeeded"]
    assert read(world, second.after).events == ()
    world.accept()
    assert statuses(read(world, second.after)) == ["queued"]
    assert read(world, tenant="other").events == ()


def test_from_now_on_begins_behind_the_newest(world: World) -> None:
    empty = read(world, events.NOW)
    world.accept()
    start = read(world, events.NOW)
    world.finish(world.claim())
    assert (empty.events, start.events) == ((), ())
    assert statuses(read(world, empty.after)) == ["queued", "running", "succeeded"]
    assert statuses(read(world, start.after)) == ["running", "succeeded"]


def test_whoever_keeps_reading_never_has_a_cursor_that_is_too_old(world: World) -> None:
    assert int(read(world).after.split("-")[0]) >= now_ms(world) - CURSOR_LAG_MS - 60_000
    old = f"{now_ms(world) - 6 * 86_400_000}-0"
    world.client.xadd(keys.feed("acme"), {"job": "a", "version": 1, "status": "queued"}, id=old)
    page = read(world)
    assert [one.id for one in page.events] == [old]
    assert page.after > old


def test_a_page_that_is_full_goes_on_where_it_ended(world: World) -> None:
    old = f"{now_ms(world) - 6 * 86_400_000}"
    for number in range(3):
        world.client.xadd(
            keys.feed("acme"), {"job": "a", "version": 1, "status": "x"}, id=f"{old}-{number}"
        )
    assert read(world, most=2).after == f"{old}-1"


def test_a_cursor_older_than_a_week_is_refused_and_what_is_older_not_told(world: World) -> None:
    old = f"{now_ms(world) - WEEK_MS - 60_000}-0"
    world.client.xadd(keys.feed("acme"), {"job": "a", "version": 1, "status": "queued"}, id=old)
    assert world.store.run(events.read_events("acme", after=old, most=9)) is None
    assert read(world).events == ()
