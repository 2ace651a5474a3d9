"""A tenant's feed of changes of its jobs and endpoints, kept for seven days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command

#: The cursor of a client that has read everything never lags further behind, in milliseconds: so
#: that regular readers never hold an expired cursor, and no backward step of Redis' clock can hide
#: an entry.
CURSOR_LAG_MS = 86_400_000

#: A cursor for what comes from now on.
NOW = "$"


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One entry. `id` is its position, `at` is in milliseconds since 1970."""

    id: str
    at: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EventPage:
    """What follows a cursor, and the next cursor."""

    events: tuple[FeedEvent, ...]
    after: str


def read_events(tenant: str, *, after: str | None, most: int) -> Command[EventPage | None]:
    """Read the feed after a cursor; None if it has expired.

    Without a cursor, start with the oldest entry; NOW returns the newest cursor and no entries.
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
