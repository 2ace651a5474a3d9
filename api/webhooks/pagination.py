"""Where a page of deliveries or endpoints ended, as a cursor."""

import re

from api.query import decode_cursor, encode_cursor
from shared.store.delivery_log import Cursor

_CURSOR = re.compile(r"([0-9]{1,15}) ([a-z0-9_]{1,80})")


def encode_delivery_cursor(cursor: Cursor | None) -> str | None:
    """Write a cursor; None at the end."""
    return encode_cursor(f"{cursor.at} {cursor.id}") if cursor else None


def decode_delivery_cursor(written: str) -> Cursor:
    """Read a cursor; raises ValueError for anything that is none."""
    found = _CURSOR.fullmatch(decode_cursor(written))
    if not found:
        raise ValueError("is no cursor of this list")
    return Cursor(int(found[1]), found[2])
