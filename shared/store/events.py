"""A tenant's feed of changes: what happened to its jobs and its receivers, for seven days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command

#: Where a client that has read everything stands is never further back than this, in milliseconds:
#: so that whoever keeps reading never comes with a cursor that is too old, and no step of Redis'
#: clock back can hide an entry.
CURSOR_LAG_MS = 86_400_000

#: In the place of a place: what comes from now on.
NOW = "$"


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One entry. `id` is its place, `at` is in milliseconds since 1970."""

    id: str
    at: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EventPage:
    """What comes after a place, and the place to go on from."""

    events: tuple[FeedEvent, ...]
    after: str


def read_events(tenant: str, *, after: str | None, most: int) -> Command[EventPage | None]:
    """Read the feed after a place; None where that is too old.

    Without a place from the oldest that is kept; NOW gives the place of the newest and no news.
    """
    operation = operations.ReadEvents(tenant, after or "", most)
    return Command(operation, lambda reply: _page(reply, after, most))


def _page(reply: Sequence[Any], after: str | None, most: int) -> EventPage | None:
    now, *entries = reply
    if entries == ["expired"]:
        return None
    if entries[:1] == ["at"]:
        after, entries = entries[1], []
    events = tuple(FeedEvent(cursor, _time(cursor), pairs(flat)) for cursor, flat in entries)
    last = events[-1].id if events else after or "0-0"
    if len(events) < most and _time(last) < int(now) - CURSOR_LAG_MS:
        last = f"{int(now) - CURSOR_LAG_MS}-0"
    return EventPage(events, last)


def _time(cursor: str) -> int:
    return int(cursor.partition("-")[0])
