"""The feed: every change of a status, in order, from wherever one stopped, for seven days."""

from shared.store import feed
from shared.store.feed import BEHIND_MS
from tests.store import World

WEEK_MS = 7 * 86_400_000


def read(
    world: World, after: str | None = None, most: int = 100, tenant: str = "acme"
) -> feed.FeedPage:
    page = world.store.run(feed.read_feed(tenant, after=after, most=most))
    assert page is not None
    return page


def statuses(page: feed.FeedPage) -> list[str]:
    return [one.fields["status"] for one in page.news]


def now_ms(world: World) -> int:
    seconds, micros = world.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_each_change_is_told_once_in_order(world: World) -> None:
    world.accept()
    world.finish(world.claim())
    first = read(world, most=2)
    second = read(world, first.after)
    assert statuses(first) + statuses(second) == ["queued", "running", "succeeded"]
    assert read(world, second.after).news == ()
    world.accept()
    assert statuses(read(world, second.after)) == ["queued"]
    assert read(world, tenant="other").news == ()


def test_from_now_on_begins_behind_the_newest(world: World) -> None:
    empty = read(world, feed.NOW)
    world.accept()
    start = read(world, feed.NOW)
    world.finish(world.claim())
    assert (empty.news, start.news) == ((), ())
    assert statuses(read(world, empty.after)) == ["queued", "running", "succeeded"]
    assert statuses(read(world, start.after)) == ["running", "succeeded"]


def test_whoever_keeps_reading_never_has_a_cursor_that_is_too_old(world: World) -> None:
    assert int(read(world).after.split("-")[0]) >= now_ms(world) - BEHIND_MS - 60_000
    old = f"{now_ms(world) - 6 * 86_400_000}-0"
    world.client.xadd("{dr}:feed:acme", {"job": "a", "version": 1, "status": "queued"}, id=old)
    page = read(world)
    assert [one.id for one in page.news] == [old]
    assert page.after > old


def test_a_page_that_is_full_goes_on_where_it_ended(world: World) -> None:
    old = f"{now_ms(world) - 6 * 86_400_000}"
    for number in range(3):
        world.client.xadd(
            "{dr}:feed:acme", {"job": "a", "version": 1, "status": "x"}, id=f"{old}-{number}"
        )
    assert read(world, most=2).after == f"{old}-1"


def test_a_cursor_older_than_a_week_is_refused_and_what_is_older_not_told(world: World) -> None:
    old = f"{now_ms(world) - WEEK_MS - 60_000}-0"
    world.client.xadd("{dr}:feed:acme", {"job": "a", "version": 1, "status": "queued"}, id=old)
    assert world.store.run(feed.read_feed("acme", after=old, most=9)) is None
    assert read(world).news == ()
