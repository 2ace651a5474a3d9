"""Bodies of many jobs are taken apart as they come, wherever they are cut."""

import collections
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.batches.json_parser import JsonBatchParser
from api.batches.ndjson_parser import NdjsonParser, Unreadable
from shared.batches import JOBS_MAX


def cut(raw: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(raw) + 1) for place in at), len(raw)]
    return [raw[begin:end] for begin, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@contextmanager
def read(raw: bytes, at: list[int]) -> Iterator[JsonBatchParser]:
    with JsonBatchParser(most_bytes=100_000) as document:
        for part in cut(raw, at):
            document.feed(part)
        document.close()
        yield document


#: Without a line break, and without what marks a text as UTF-16 or begins a file.
_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\n\0\ufeff")


@given(CUTS, st.lists(st.text(_CHARACTERS)), st.booleans())
def test_lines_are_the_same_wherever_the_body_is_cut(
    at: list[int],
    texts: list[str],
    is_ended: bool,  # noqa: FBT001
) -> None:
    raw = "\n".join(texts).encode() + (b"\n" if is_ended else b"")
    lines = NdjsonParser(most_bytes=10_000)
    found = [one for part in cut(raw, at) for one in lines.feed(part)]
    found += lines.close()
    assert found == [
        (number, line)
        for number, line in enumerate(raw.split(b"\n"), 1)
        if line and not line.isspace()
    ]


def test_a_line_without_an_end_is_not_kept() -> None:
    lines = NdjsonParser(most_bytes=100)
    assert list(lines.feed(b"{}\n" + b"x" * 100)) == [(1, b"{}")]
    with pytest.raises(Unreadable) as refused:
        list(lines.feed(b"y"))
    assert refused.value.fault.pointer == "/line/2"


@given(
    CUTS,
    st.lists(VALUES, max_size=5),
    st.dictionaries(st.text().filter(lambda name: name != "jobs"), VALUES, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_a_document_is_what_json_says_it_is(
    at: list[int],
    jobs: list[Any],
    members: dict[str, Any],
    is_first: bool,  # noqa: FBT001
    is_ascii: bool,  # noqa: FBT001
) -> None:
    whole = {"jobs": jobs, **members} if is_first else {**members, "jobs": jobs}
    with read(json.dumps(whole, ensure_ascii=is_ascii, indent=1).encode(), at) as document:
        assert document.jobs is not None
        assert [json.loads(job) for job in document.jobs] == jobs
    assert json.loads(document.members) == members
    assert document.names == {*members, "jobs"}


@given(CUTS)
def test_values_are_cut_out_as_they_were_sent(at: list[int]) -> None:
    entries = (rb'{"a":[1.0,{"b":"\\]}"}]}', rb'"\ud83d\\"', b"9" * 40, b"[]", b"NaN")
    raw = b'\xef\xbb\xbf { "x" : {"y":"}"} , "jobs":[' + b",".join(entries) + b"]}\n"
    with read(raw, at) as document:
        assert list(document.jobs or ()) == list(entries)
    assert json.loads(document.members) == {"x": {"y": "}"}}


@given(CUTS, st.permutations(range(7)))
def test_an_ordinary_entry_is_cut_out_like_any_other(at: list[int], order: list[int]) -> None:
    entries = [
        b"{}",
        b' {"input":{"prompt":"}],{\\"","seed":7},"metadata":{"sku":"7"}}\n',
        b'{"a":{},"b":{}}',
        b'{"a":{"b":{"c":1}}}',
        b'{"tags":["x","y"],"input":{}}',
        b"7",
        b"",
    ]
    entries = [entries[number] for number in order]
    with read(b'{"jobs":[' + b",".join([*entries, b"0"]) + b"]}", at) as document:
        assert list(document.jobs or ()) == [*entries, b"0"]


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"5", ""),
        (b'"{}"', ""),
        (b"{,}", ""),
        (b'{"a":1,}', ""),
        (b'{"a"}', ""),
        (b"{1:2}", ""),
        (b'{"a":1]', ""),
        (b"}", ""),
        (b"{} {}", ""),
        (b"{} x", ""),
        (b'{"jobs":{}}', "/jobs"),
        (b'{"jobs":5}', "/jobs"),
        (b'{"jobs":[] []}', "/jobs"),
        (b'{"jobs":[{}] 5}', "/jobs"),
        (b'{"jobs":[{}}', ""),
        (b'{"jobs":[],"jobs":[]}', ""),
        (b'{"a":1,"a":2}', ""),
        (b'{"jobs":[{}', ""),
        (b'{"\\ud800":1}', "/?"),
        ('{"jobs":[]}'.encode("utf-16"), ""),
        ('{"jobs":[]}'.encode("utf-16-be"), ""),
        (b'{"jobs":[' + b"{}," * JOBS_MAX + b"{}]}", "/jobs"),
        (b'{"jobs":[{},"' + b"x" * 100_001, "/jobs/1"),
        (b'{"jobs":["' + b"x" * 100_001 + b'"]}', "/jobs/0"),
        (b'{"tags":["' + b"x" * 100_001, "/tags"),
    ],
)
def test_what_cannot_be_read_is_refused(raw: bytes, pointer: str) -> None:
    with pytest.raises(Unreadable) as refused, read(raw, []):
        pass
    assert refused.value.fault.pointer == pointer


def test_a_byte_order_mark_is_no_part_of_a_line() -> None:
    lines = NdjsonParser(most_bytes=100)
    found = [*lines.feed(b"\xef\xbb\xbf{}\n\xef\xbb\xbf[]\n\xef\xbb\xbf"), *lines.close()]
    assert found == [(1, b"{}"), (2, b"[]")]


def test_lines_of_another_encoding_are_refused_at_the_first() -> None:
    with pytest.raises(Unreadable) as refused:
        list(NdjsonParser(most_bytes=100).feed("{}\n{}\n".encode("utf-16")))
    assert refused.value.fault.message == "must be encoded in UTF-8, and looks like UTF-16"


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b'{"jobs":[{},{"input":{"prompt":"' + b"p" * 3000, "/jobs/1"),
        (b'{"jobs":[{},[' + b"0," * 1500, "/jobs/1"),
        (b'{"metadata":{"a":"' + b"p" * 3000, "/metadata"),
    ],
)
def test_an_entry_without_an_end_is_not_kept(raw: bytes, place: str) -> None:
    with JsonBatchParser(most_bytes=1000) as document, pytest.raises(Unreadable) as refused:
        collections.deque(map(document.feed, cut(raw, list(range(0, len(raw), 100)))), 0)
    assert refused.value.fault.pointer == place


def test_many_entries_together_may_be_larger_than_one() -> None:
    entry = b'{"input":{"prompt":"' + b"p" * 500 + b'"}}'
    whole = b'{"jobs":[' + b",".join([entry] * 2000) + b"]}"
    with JsonBatchParser(most_bytes=1000) as document:
        for at in range(0, len(whole), 100):
            document.feed(whole[at : at + 100])
        document.close()
        assert list(document.jobs or ()) == [entry] * 2000
