"""Files: of prompts, of images, and the journal of a folder."""

import asyncio
import json
import os
import re
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from darkroom.bulk.journal import FILE, open_journal
from darkroom.bulk.plan import entries_of
from darkroom.bulk.prompt_files import Line, read_lines
from darkroom.config import load_config
from darkroom.errors import NotConfigured, UsageError
from darkroom.files import image_path, write_atomically
from darkroom.images import AsyncImage
from darkroom.models import ImageFacts, from_json


def read(path: Path, text: str | bytes, **given: Any) -> list[tuple[int, dict[str, Any]]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
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


def test_a_list_may_be_written_as_json(tmp_path: Path) -> None:
    text = 'prompt,tags\nA,"[""a"", ""b""]"\nB,"[draft], c"\n'
    assert [body["tags"] for _, body in read(tmp_path / "p.csv", text)] == [
        ["a", "b"],
        ["[draft]", "c"],
    ]


def test_objects_may_be_written_as_the_api_has_them(tmp_path: Path) -> None:
    text = '{"prompt": "a", "seed": 1}\n{"input": {"prompt": "b", "seed": 2}, "tags": ["t"]}\n'
    assert read(tmp_path / "p.jsonl", text) == [
        (1, {"input": {"prompt": "a", "seed": 1}}),
        (2, {"tags": ["t"], "input": {"prompt": "b", "seed": 2}}),
    ]


def test_a_line_overrides_the_parameters_of_the_command_and_keeps_the_others(
    tmp_path: Path,
) -> None:
    given = {"seed": 1, "input": {"steps": 20, "quality": "low"}}
    text = (
        '{"prompt": "a", "quality": "high"}\n'
        '{"input": {"prompt": "b", "guidance": 3, "seed": 2}}\n'
        '{"prompt": "c", "input": null, "quality": null}\n'
    )
    assert [body["input"] for _, body in read(tmp_path / "p.jsonl", text, **given)] == [
        {"prompt": "a", "seed": 1, "quality": "high", "steps": 20},
        {"prompt": "b", "seed": 2, "guidance": 3, "quality": "low", "steps": 20},
        {"prompt": "c", "seed": 1, "steps": 20},
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "p.csv",
            "prompt,tags\nA,\"['a', 'b']\"\n",
            "p.csv, line 2, column `tags`: must be written a, b or [",
        ),
        (
            "p.csv",
            "prompt,idempotency_key\nA,order-1\n",
            "p.csv, line 2, column `idempotency_key`: is an option of the request",
        ),
        ("p.xls", "x", "p.xls: prompts are read from .txt, .csv"),
        ("p.txt", "\n \n", "has no prompt in it"),
        ("p.csv", "seed\n7\n", "including `prompt`"),
        ("p.csv", "prompt,seed\na,1.5\n", "p.csv, line 2, column `seed`: must be a whole number."),
        (
            "p.csv",
            "prompt,go_fast\na,perhaps\n",
            "line 2, column `go_fast`: must be true or false.",
        ),
        ("p.csv", "prompt\na,b\n", "line 2: more cells than columns."),
        ("p.csv", "prompt,seed\n,1\n", "line 2: there is no prompt."),
        ("p.jsonl", '{"prompt": "a"}\n{\n', "line 2: not JSON"),
        ("p.jsonl", '"a"\n', "line 1: must be a JSON object."),
        ("p.jsonl", "{}\n", "line 1: there is no prompt."),
        ("p.jsonl", '{"prompt": 5}\n', "line 1, member `prompt`: must be text."),
        ("p.jsonl", '{"prompt": "a", "seed": NaN}', "line 1, member `seed`: must be a finite"),
        ("p.jsonl", '{"prompt": "a", "seed": -Infinity}', "member `seed`: must be a finite"),
        ("p.jsonl", '{"prompt": "a", "seed": 1e999}', "member `seed`: must be a finite"),
        ("p.jsonl", f'{{"prompt": "a", "seed": {2**64}}}', "member `seed`: is too large."),
        ("p.jsonl", f'{{"prompt": "a", "seed": {"9" * 5000}}}', "line 1, member `seed`: must be"),
        ("p.jsonl", '{"prompt": "a\\ud83d"}', "member `prompt`: is not valid Unicode."),
        ("p.jsonl", '{"prompt": "a", "metadata": {"b": "\\ude00"}}', "member `metadata/b`: is not"),
        (
            "p.jsonl",
            '{"prompt": "a", "metadata": {"\\ude00": "b"}}',
            "member `metadata`: has a name",
        ),
        ("p.jsonl", '{"prompt": "a", "metadata": 5}', "member `metadata`: must be an object."),
        ("p.jsonl", '{"prompt": "a", "input": [1]}', "member `input`: must be an object."),
        ("p.jsonl", '{"prompt": "a", "prompt": "b"}', "line 1: `prompt` given more than once."),
        ("p.jsonl", '{"prompt": "a", "metadata": {"entry": "b"}}', "use another name"),
        ("p.jsonl", '{"prompt": "a", "input": {"prompt": "b"}}', "`prompt` given both in `input`"),
        ("p.csv", 'prompt,input\na,"{""prompt"": ""b""}"', "`prompt` given both in `input`"),
        ("p.csv", 'prompt,seed,input\na,1,"{""seed"": 2}"', "`seed` given both in `input`"),
        ("p.jsonl", '{"prompt": "a", "metadata": ' + "[" * 9999 + "}", "line 1: is nested too"),
        ("p.jsonl", '{"prompt": "a", "x": ' + "[" * 200 + "]" * 200 + "}", "is nested too deeply."),
        ("p.csv", 'prompt,seed\n"A pier,7\nA gull,8\n', 'line 2: a quote (") is never closed'),
        ("p.csv", 'prompt,seed\nA,1\n\n"A "red" pier",7\n', 'line 4: a quote (") is never'),
        ("p.csv", "prompt,seed,prompt\na,1,b\n", "line 1, column `prompt`: given more than once."),
        ("p.csv", "prompt,Seed,seed \na,1,2\n", "line 1, column `seed`: given more than once."),
        ("p.csv", f"prompt\n{'a' * 131_073}\n", "line 2: a cell has more than 131,072 characters"),
        ("p.csv", "prompt,\na,b\n", "line 2: cell 2 has no column name."),
        ("p.csv", "prompt,go_fast\na,2\n", "column `go_fast`: must be true or false."),
        ("p.csv", "prompt,metadata\na,b\n", "column `metadata`: not JSON"),
        ("p.csv", f"prompt,seed\na,{2**64}\n", "column `seed`: is too large."),
        ("p.csv", b"prompt\nCaf\xe9\n", "p.csv, line 2: this is not UTF-8. The file may be in Win"),
        ("p.txt", b"A\rB\r\n\x93C\x94\n", "p.txt, line 3: this is not UTF-8."),
        ("p.txt", "A pier".encode("utf-16-le"), "is not text (is it UTF-16"),
        ("p.txt", b"\xff\xfeA", "p.txt, line 1: this is not"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_its_line(
    tmp_path: Path, name: str, text: str | bytes, says: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        read(tmp_path / name, text)


def test_the_metadata_that_the_command_sets_is_not_an_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--metadata entry: this command sets it"):
        read(tmp_path / "p.txt", "a", metadata={"entry": "b"})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_ends_with_lf_crlf_or_cr_and_with_nothing_else(tmp_path: Path, end: str) -> None:
    odd = "A\u2028b\u2029c\x0bd\x0ce\x85f\x1cg\x1dh\x1ei"
    for name, first in (("p.txt", ""), ("p.csv", f"prompt{end}")):
        lines = read(tmp_path / name, f"{first}{odd}{end}A gull{end}")
        assert [body["input"]["prompt"] for _, body in lines] == [odd, "A gull"]
        assert lines[1][0] == 2 + bool(first)
    objects = [{"prompt": "A\u2028b\u0085c"}, {"prompt": "A gull"}]
    text = end.join(json.dumps(one, ensure_ascii=False) for one in objects)
    found = read(tmp_path / "p.jsonl", text)
    assert [body["input"] for _, body in found] == objects


TABLE = "Prompt{0}SEED{0} Aspect-Ratio \n\nA pier{0}7.0{0}16:9\nA gull{0}{0}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    ("separator", "first"), [(",", 0), (";", 0), ("\t", 0), (";", 1), ("!", 1)]
)
def test_a_table_is_read_in_any_separator_unicode_encoding_and_case(
    tmp_path: Path, separator: str, first: int, encoding: str
) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = f"{mark}{f'sep={separator}' + chr(10) if first else ''}{TABLE.format(separator)}"
    assert read(tmp_path / "p.csv", text.encode(encoding)) == [
        (3 + first, {"input": {"prompt": "A pier", "seed": 7, "aspect_ratio": "16:9"}}),
        (4 + first, {"input": {"prompt": "A gull"}}),
    ]


def test_a_quoted_table_is_read_and_so_is_one_without_its_last_cells(tmp_path: Path) -> None:
    text = '"prompt";"seed"\n"A pier; at sea";"7"\nA gull\n"Say ""hello""";8;\n'
    prompts = [line[1]["input"] for line in read(tmp_path / "p.tsv", text)]
    assert prompts == [
        {"prompt": "A pier; at sea", "seed": 7},
        {"prompt": "A gull"},
        {"prompt": 'Say "hello"', "seed": 8},
    ]


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    text = '{"prompt": "a", "seed": 7.0}\n{"input": {"prompt": "b", "seed": 8.0}}\n'
    seeds = [line[1]["input"]["seed"] for line in read(tmp_path / "p.jsonl", text)]
    assert [(seed, type(seed)) for seed in seeds] == [(7, int), (8, int)]


def test_every_fault_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as table:
        read(tmp_path / "p.csv", "prompt,seed,go_fast\na,x,perhaps\n,1\nb,y,\nc,1,no,4\n")
    assert str(table.value).split("\n") == [
        "p.csv, lines 2, 4, column `seed`: must be a whole number.",
        "p.csv, line 2, column `go_fast`: must be true or false.",
        "p.csv, line 3: there is no prompt.",
        "p.csv, line 5: more cells than columns.",
        "Nothing was requested.",
    ]
    with pytest.raises(UsageError) as objects:
        read(tmp_path / "p.jsonl", '{"prompt": "a", "seed": NaN}\n{\n{"seed": 1}\n')
    assert [line.partition(":")[0] for line in str(objects.value).split("\n")] == [
        "p.jsonl, line 1, member `seed`",
        "p.jsonl, line 2",
        "p.jsonl, line 3",
        "Nothing was requested.",
    ]


def test_faults_without_end_are_counted(tmp_path: Path) -> None:
    rows = "".join(f'{{"prompt": "a", "x{n}": NaN}}\n' for n in range(500))
    with pytest.raises(UsageError, match=r"And 480 other faults\.\nNothing was requested\.$"):
        read(tmp_path / "p.jsonl", rows)
    with pytest.raises(UsageError, match="lines 2, 3, 4, 5, 6 and 495 more, column `seed`"):
        read(tmp_path / "p.csv", "prompt,seed\n" + "a,b\n" * 500)


def test_an_entry_is_the_same_wherever_its_line_stands() -> None:
    gull, crab = ({"input": {"prompt": prompt}} for prompt in ("A gull", "A crab"))
    first = {one.id for one in entries_of([Line(1, gull), Line(2, crab)], 1)}
    moved = [one.id for one in entries_of([Line(1, crab), Line(5, gull), Line(6, gull)], 1)]
    assert first == set(moved[:2])
    assert moved[2] not in first


@pytest.mark.parametrize("seed", [7, 7.0])
def test_variations_count_on_from_a_seed(seed: float) -> None:
    line = Line(1, {"input": {"prompt": "A gull!", "seed": seed}})
    entries = list(entries_of([line], 3))
    assert [one.body["input"]["seed"] for one in entries] == [7, 8, 9]
    assert {one.slug for one in entries} == {"a-gull"}


@pytest.mark.parametrize("seed", [None, True, "7", 7.5, float("inf")])
def test_a_seed_that_is_no_integer_is_left_to_the_service(seed: Any) -> None:
    line = Line(1, {"input": {"prompt": "A gull!", "seed": seed}})
    assert [one.body for one in entries_of([line], 2)] == [line.body] * 2


def test_a_journal_is_believed_up_to_the_line_that_was_torn(tmp_path: Path) -> None:
    entries = list(entries_of([Line(1, {"input": {"prompt": "a"}})], 2))
    with open_journal(tmp_path) as journal:
        journal.record_requested(entries)
        [asked] = journal.requested.values()
        journal.accepted(asked.key, "batch_1")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"key": "cli-2", "at": 1, "jo')
    (tmp_path / ".darkroom-half").write_bytes(b"half")
    with open_journal(tmp_path) as journal:
        [asked] = journal.requested.values()
        assert (asked.batch, list(asked.names.values())) == ("batch_1", ["0001-a", "0002-a"])
        assert [job["metadata"]["entry"] for job in asked.jobs] == [one.id for one in entries]
        journal.record_requested(list(entries_of([Line(1, {"input": {"prompt": "b"}})], 1)))
        assert journal.names[[*journal.names][-1]] == "0003-b"
        with pytest.raises(UsageError, match="Another run"), open_journal(tmp_path):
            pass
    records = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert len(records) == 3
    assert {path.name for path in tmp_path.iterdir()} == {FILE}


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 512, b"\0" * 512 + b"\n", b'{"key": "cli-2"}\n', b"\xff\xfe\n{}\n", b'{"key": 1}\n\n'],
)
def test_a_journal_that_lost_its_end_with_the_power_is_cut_there(
    tmp_path: Path, tail: bytes
) -> None:
    with open_journal(tmp_path) as journal:
        journal.record_requested(list(entries_of([Line(1, {"input": {"prompt": "a"}})], 1)))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + tail)
    with open_journal(tmp_path) as journal:
        assert list(journal.names.values()) == ["0001-a"]
    assert (tmp_path / FILE).read_bytes() == whole


def test_a_journal_that_is_damaged_before_its_end_is_left_and_named(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for prompt in ("a", "b"):
            journal.record_requested(list(entries_of([Line(1, {"input": {"prompt": prompt}})], 1)))
    damaged = b"#" + (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(damaged)
    with (
        pytest.raises(UsageError, match=r"\.darkroom\.jsonl, line 1: .* --out"),
        open_journal(tmp_path),
    ):
        pass
    assert (tmp_path / FILE).read_bytes() == damaged


def test_what_was_refused_is_as_if_it_was_never_asked_for(tmp_path: Path) -> None:
    entries = list(entries_of([Line(1, {"input": {"prompt": "a"}})], 1))
    with open_journal(tmp_path) as journal:
        journal.record_requested(entries)
        journal.refused(*journal.requested)
    with open_journal(tmp_path) as journal:
        assert journal.names == {}


def test_the_extension_is_what_the_bytes_are(tmp_path: Path) -> None:
    def path(wanted: str, extension: str) -> str:
        return image_path(Path(wanted), name="job_1", extension=extension).name

    assert path("x.png", ".webp") == "x.webp"
    assert path("x.JPEG", ".jpg") == "x.JPEG"
    assert path("v1.5", ".png") == "v1.5.png"
    assert path(str(tmp_path), ".png") == "job_1.png"


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="x"):
        write_atomically(tmp_path / "x", b"data")
    assert {path.name for path in tmp_path.iterdir()} == {"x"}


def test_a_file_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "x", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_an_event_loop_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    threads: list[threading.Thread] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(tmp_path) in str(arguments[0]):
            threads.append(threading.current_thread())

    async def fetch(_: ImageFacts, preview: bool) -> bytes:  # noqa: FBT001
        return b"preview" if preview else b"data"

    raw = {"content_type": "image/webp", "bytes": 4, "preview_url": ""}
    image = from_json(AsyncImage, raw, job_id="job_1", fetch=fetch)
    sys.addaudithook(watch)
    saved = asyncio.run(image.save(tmp_path))
    assert [thread is threading.main_thread() for thread in threads] == [False]
    assert saved.read_bytes() == b"data"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read as a stack.json (No such file or directory)."),
        ("{", "cannot be read as a stack.json (it is not JSON)."),
        ("[]", "is not a stack.json that `darkroom up` wrote."),
        ('{"api": 5, "api_key": "k"}', "is not text"),
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
        load_config()
    assert why in str(raised.value)


def test_what_is_given_goes_before_the_environment_and_that_before_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "API_KEY", "OPS_KEY", "STACK"):
        monkeypatch.delenv(f"DARKROOM_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotConfigured, match="DARKROOM_STACK"):
        load_config()
    stack = {"api": "http://stack", "api_key": "stacks", "ops_key": "operators"}
    (tmp_path / ".darkroom").mkdir()
    (tmp_path / ".darkroom" / "stack.json").write_text(json.dumps(stack))
    assert load_config().key == "stacks"
    assert load_config(kind="ops").key == "operators"
    monkeypatch.setenv("DARKROOM_API_KEY", "environments")
    assert (load_config().url, load_config().key) == ("http://stack", "environments")
    assert (load_config("http://given/", "mine").url, load_config(key="mine").key) == (
        "http://given",
        "mine",
    )
    assert "mine" not in repr(load_config(key="mine"))
