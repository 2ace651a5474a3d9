"""Conditions, preferences and ranges are read as their RFCs say."""

import pytest
from starlette.datastructures import Headers

from api.headers import Range, Unsatisfiable, etag_matches, preferred_wait, wanted_range


@pytest.mark.parametrize("written", ['W/"3"', '"3"', '"1", W/"3"', "*", " * ", 'W/"2",W/"3"'])
def test_a_known_version_is_recognised(written: str) -> None:
    assert etag_matches(written, "3")


@pytest.mark.parametrize("written", ["", "3", 'W/"33"', '"1", "2"', 'W/"3', "'3'"])
def test_another_version_is_not(written: str) -> None:
    assert not etag_matches(written, "3")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("wait=5", 5),
        ("wait", 60),
        ('wait="7"', 7),
        ("WAIT = 9", 9),
        ("respond-async, wait=10", 10),
        ("wait=3; foo=bar", 3),
        ("wait=3, wait=9", 3),
        ("wait=60", 60),
    ],
)
def test_a_preferred_wait_is_understood(written: str, seconds: int) -> None:
    assert preferred_wait(Headers({"prefer": written})) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "respond-async", "wait=0", "wait=61", "wait=-1", "wait=1.5", "wait=x", "waits=5"],
)
def test_a_preference_that_cannot_be_used_is_ignored(written: str) -> None:
    assert preferred_wait(Headers({"prefer": written})) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("bytes=0-0", Range(0, 0)),
        ("bytes=2-5", Range(2, 5)),
        ("bytes=2-", Range(2, 9)),
        ("bytes=-3", Range(7, 9)),
        ("bytes=-99", Range(0, 9)),
        ("bytes=5-99", Range(5, 9)),
        ("BYTES=0-1", Range(0, 1)),
        (f"bytes=2-{'9' * 30}", Range(2, 9)),
    ],
)
def test_a_range_is_cut_to_the_body(written: str, expected: Range) -> None:
    assert wanted_range(written, 10) == expected


@pytest.mark.parametrize(
    "written",
    [None, "", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "0-5", "x"],
)
def test_what_is_no_single_range_means_the_whole(written: str | None) -> None:
    assert wanted_range(written, 10) is None


@pytest.mark.parametrize("written", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_outside_the_body_cannot_be_given(written: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted_range(written, 10)
