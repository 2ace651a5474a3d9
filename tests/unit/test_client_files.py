"""Files: of prompts, of pictures, and the journal of a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import BadWords, NotConfigured
from darkroom.files import picture_path, write_whole
from darkroom.folder.entries import entries_of
from darkroom.folder.journal import FILE, open_journal
from darkroom.folder.lines import Line, read_lines
from darkroom.places import find_place


def read(path: Path, text: str, **given: Any) -> list[tuple[int, dict[str, Any]]]:
    path.write_text(text)
    return [(line.number, dict(line.body)) for line in read_lines(path, given)]


def test_a_table_has_parameters_in_its_columns(tmp_path: Path) -> None:
    text = 'prompt,seed,go_fast,tags,megapixels\n"Two,\nlines",7,no,"a, b",1\n\nPlain,,,,\n'
    assert read(tmp_path / "p.csv", text, aspect_ratio="16:9") == [
        (
            3,
            {
                "tags": ["a", "b"],
                "input": {
                    "prompt": "Two,\nlines",
                    "aspect_ratio": "16:9",
                    "seed": 7,
                    "go_fast": False,
                    "megapixels": "1",
                },
            },
        ),
        (5, {"input": {"prompt": "Plain", "aspect_ratio": "16:9"}}),
    ]


def test_objects_may_be_written_as_the_api_has_them(tmp_path: Path) -> None:
    text = '{"prompt": "a", "seed": 1}\n{"input": {"prompt": "b", "seed": 2}, "tags": ["t"]}\n'
    assert read(tmp_path / "p.jsonl", text) == [
        (1, {"input": {"prompt": "a", "seed": 1}}),
        (2, {"tags": ["t"], "input": {"prompt": "b", "seed": 2}}),
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.xls", "x", "p.xls: prompts are read from .txt, .csv"),
        ("p.txt", "\n \n", "has no prompt in it"),
        ("p.csv", "seed\n7\n", "one of them `prompt`"),
        ("p.csv", "prompt,seed\na,1.5\n", "p.csv, line 2: seed must be a whole number."),
        ("p.csv", "prompt,go_fast\na,perhaps\n", "line 2: go_fast must be true or false."),
        ("p.csv", "prompt\na,b\n", "line 2: more cells than columns."),
        ("p.csv", "prompt,seed\n,1\n", "line 2: there is no prompt."),
        ("p.jsonl", '{"prompt": "a"}\n{\n', "line 2: not JSON"),
        ("p.jsonl", '"a"\n', "line 1: must be a JSON object."),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_its_line(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    with pytest.raises(BadWords, match=says.replace(".", r"\.")):
        read(tmp_path / name, text)


def test_an_entry_is_the_same_wherever_its_line_stands() -> None:
    gull, crab = ({"input": {"prompt": prompt}} for prompt in ("A gull", "A crab"))
    first = {one.id for one in entries_of([Line(1, gull), Line(2, crab)], 1)}
    moved = [one.id for one in entries_of([Line(1, crab), Line(5, gull), Line(6, gull)], 1)]
    assert first == set(moved[:2])
    assert moved[2] not in first


def test_variations_count_on_from_a_seed() -> None:
    line = Line(1, {"input": {"prompt": "A gull!", "seed": 7}})
    entries = list(entries_of([line], 3))
    assert [one.body["input"]["seed"] for one in entries] == [7, 8, 9]
    assert {one.slug for one in entries} == {"a-gull"}


def test_a_journal_is_believed_up_to_the_line_that_was_torn(tmp_path: Path) -> None:
    entries = list(entries_of([Line(1, {"input": {"prompt": "a"}})], 2))
    with open_journal(tmp_path) as journal:
        journal.ask(entries)
        [asked] = journal.asked.values()
        journal.accepted(asked.key, "batch_1")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"key": "cli-2", "at": 1, "jo')
    (tmp_path / ".darkroom-half").write_bytes(b"half")
    with open_journal(tmp_path) as journal:
        [asked] = journal.asked.values()
        assert (asked.batch, list(asked.names.values())) == ("batch_1", ["0001-a", "0002-a"])
        assert [job["metadata"]["entry"] for job in asked.jobs] == [one.id for one in entries]
        journal.ask(list(entries_of([Line(1, {"input": {"prompt": "b"}})], 1)))
        assert journal.names[[*journal.names][-1]] == "0003-b"
        with pytest.raises(BadWords, match="Another run"), open_journal(tmp_path):
            pass
    records = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert len(records) == 3
    assert {path.name for path in tmp_path.iterdir()} == {FILE}


def test_what_was_refused_is_as_if_it_was_never_asked_for(tmp_path: Path) -> None:
    entries = list(entries_of([Line(1, {"input": {"prompt": "a"}})], 1))
    with open_journal(tmp_path) as journal:
        journal.ask(entries)
        journal.refused(*journal.asked)
    with open_journal(tmp_path) as journal:
        assert journal.names == {}


def test_the_extension_is_what_the_bytes_are(tmp_path: Path) -> None:
    def path(wanted: str, extension: str) -> str:
        return picture_path(Path(wanted), name="job_1", extension=extension).name

    assert path("x.png", ".webp") == "x.webp"
    assert path("x.JPEG", ".jpg") == "x.JPEG"
    assert path("v1.5", ".png") == "v1.5.png"
    assert path(str(tmp_path), ".png") == "job_1.png"


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="x"):
        write_whole(tmp_path / "x", b"data")
    assert {path.name for path in tmp_path.iterdir()} == {"x"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read as a stack.json (No such file or directory)."),
        ("{", "cannot be read as a stack.json (it is not JSON)."),
        ("[]", "is not a stack.json that `darkroom up` wrote."),
        ('{"api": 5, "api_key": "k"}', "No address of a Darkroom is known."),
    ],
)
def test_a_stack_that_cannot_be_read_is_named_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, why: str
) -> None:
    for name in ("URL", "API_KEY"):
        monkeypatch.delenv(f"DARKROOM_{name}", raising=False)
    path = tmp_path / "stack.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("DARKROOM_STACK", str(path))
    with pytest.raises(NotConfigured) as raised:
        find_place()
    assert why in str(raised.value)


def test_what_is_given_goes_before_the_environment_and_that_before_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "API_KEY", "OPS_KEY", "STACK"):
        monkeypatch.delenv(f"DARKROOM_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotConfigured, match="DARKROOM_STACK"):
        find_place()
    stack = {"api": "http://stack", "api_key": "stacks", "ops_key": "operators"}
    (tmp_path / ".darkroom").mkdir()
    (tmp_path / ".darkroom" / "stack.json").write_text(json.dumps(stack))
    assert find_place().key == "stacks"
    assert find_place(kind="ops").key == "operators"
    monkeypatch.setenv("DARKROOM_API_KEY", "environments")
    assert (find_place().url, find_place().key) == ("http://stack", "environments")
    assert (find_place("http://given/", "mine").url, find_place(key="mine").key) == (
        "http://given",
        "mine",
    )
    assert "mine" not in repr(find_place(key="mine"))
