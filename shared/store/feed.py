"""A tenant's feed of changes: what happened to its jobs and its receivers, for seven days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.store.call import PREFIX, Call
from shared.store.records import pairs

#: Where a client that has read everything stands is never further back than this, in milliseconds:
#: so that whoever keeps reading never comes with a cursor that is too old, and no step of Redis'
#: clock back can hide an entry.
BEHIND_MS = 86_400_000

#: In the place of a place: what comes from now on.
NOW = "$"


@dataclass(frozen=True, slots=True)
class News:
    """One entry. `id` is its place, `at` is in milliseconds since 1970."""

    id: str
    at: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What comes after a place, and the place to go on from."""

    news: tuple[News, ...]
    after: str


def read_feed(tenant: str, *, after: str | None, most: int) -> Call[FeedPage | None]:
    """Read the feed after a place; None where that is too old.

    Without a place from the oldest that is kept; NOW gives the place of the newest and no news.
    """
    return Call(
        "feed",
        (f"{PREFIX}feed:{tenant}",),
        (after or "", most),
        lambda reply: _page(reply, after, most),
        writes=False,
    )


def _page(reply: Sequence[Any], after: str | None, most: int) -> FeedPage | None:
    now, *entries = reply
    if entries == ["expired"]:
        return None
    if entries[:1] == ["at"]:
        after, entries = entries[1], []
    news = tuple(News(place, _time(place), pairs(flat)) for place, flat in entries)
    last = news[-1].id if news else after or "0-0"
    if len(news) < most and _time(last) < int(now) - BEHIND_MS:
        last = f"{int(now) - BEHIND_MS}-0"
    return FeedPage(news, last)


def _time(place: str) -> int:
    return int(place.partition("-")[0])
