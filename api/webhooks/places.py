"""Where a page of deliveries or endpoints ended, as a cursor."""

import re

from api.query import hide, reveal
from shared.store.ledger import Place

_PLACE = re.compile(r"([0-9]{1,15}) ([a-z0-9_]{1,80})")


def write_place(place: Place | None) -> str | None:
    """Write a cursor; None at the end."""
    return hide(f"{place.at} {place.id}") if place else None


def read_place(written: str) -> Place:
    """Read a cursor; raises ValueError for anything that is none."""
    found = _PLACE.fullmatch(reveal(written))
    if not found:
        raise ValueError("is no cursor of this list")
    return Place(int(found[1]), found[2])
