"""The events that operators are told to look for are those that the code logs."""

import re

from tests.support.names import ROOT


def test_each_event_in_the_guide_for_operators_is_logged() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text("utf-8")
    section = guide[guide.index("The events of a job are") : guide.index("## Sizing")]
    events = set(re.findall(r"`([a-z][^`/_]+ [^`]+)`", section))
    assert len(events) > 15
    code = "".join(
        path.read_text("utf-8")
        for folder in ("api", "shared", "worker")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert {event for event in events if event.strip("… ") not in " ".join(code.split())} == set()
