"""`docs/webhooks.md` lists every type of event that is sent or can be read, and no other."""

import re
from pathlib import Path
from typing import get_args

from api.events import EventName
from shared.batches import BatchEvent
from shared.jobs import EventType
from shared.operator_events import ENDS
from shared.store.deliveries import TEST_TYPE
from shared.tenant_events import TenantEvent

ROOT = Path(__file__).parents[2]
SENT = {*EventType, *BatchEvent, *TenantEvent, TEST_TYPE}


def listed() -> tuple[set[str], set[str]]:
    """Read the two tables: the types that are sent, and those that only the feed has."""
    page = (ROOT / "docs" / "webhooks.md").read_text()
    section = page.partition("### Event types")[2].partition("## ")[0]
    sent, _, feed = section.partition("in the feed")
    return _first_cells(sent), _first_cells(feed)


def _first_cells(table: str) -> set[str]:
    return set(re.findall(r"^\| `([a-z]+\.[a-z]+)`", table, re.MULTILINE))


def test_the_page_lists_every_type_that_is_sent() -> None:
    assert listed()[0] == SENT


def test_the_page_lists_every_type_of_the_feed() -> None:
    feed = set(get_args(EventName))
    assert listed()[1] == feed - SENT


def test_no_script_writes_a_type_that_is_not_listed() -> None:
    sent, feed = listed()
    scripts = "".join(path.read_text() for path in (ROOT / "shared" / "lua").glob("**/*.lua"))
    written = set(re.findall(r"'((?:job|batch|webhook)\.[a-z]+)'", scripts))
    assert written
    assert written <= sent | feed


def test_each_event_of_a_tenant_is_added_by_a_script() -> None:
    scripts = "".join(path.read_text() for path in (ROOT / "shared" / "lua" / "lib").glob("*.lua"))
    added = re.findall(r"(?:tenant_events|M)\.add\((?!C\.operators)[^,]+, '([a-z.]+)'", scripts)
    assert set(added) == set(TenantEvent)


def test_the_page_for_operators_lists_each_event_with_its_end() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|.*\| `([a-z]+\.[a-z_]+)` \|", page, re.MULTILINE)
    assert dict(rows) == dict(ENDS)


def test_each_condition_of_operators_is_found_by_a_script() -> None:
    script = (ROOT / "shared" / "lua" / "lib" / "episodes.lua").read_text()
    assert set(re.findall(r"'([a-z]+\.[a-z_]+) ", script)) == set(ENDS)
