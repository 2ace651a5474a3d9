"""The table of the README: every row is there, and all that it names."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = {str(number) for number in range(1, 30)} | {"7a"}
ENTRY = re.compile(r"\| (\d+a?) \| [^|]+ \| ([^|]+) \|")
FILE = re.compile(r"`([\w./]+\.py)`(?: \(([^)]*)\))?")
TELLS = re.compile(r"\btell\(\s*\"?(\d+a?)\"?,")


def entries() -> list[tuple[str, str]]:
    return ENTRY.findall((HERE / "README.md").read_text())


def test_each_row_is_named() -> None:
    assert {row for row, _ in entries()} == ROWS


def test_each_file_and_test_that_is_named_is_there() -> None:
    for _, places in entries():
        named = FILE.findall(places)
        assert named, places
        for file, tests in named:
            text = (HERE / file).read_text()
            wanted = re.findall(r"`(\w+)`", tests)
            assert [one for one in wanted if f"def {one}(" not in text] == []


def test_each_row_has_a_line_in_the_file_that_proves_it() -> None:
    for row in ROWS:
        files = [
            HERE / file
            for one, places in entries()
            if one == row
            for file, _ in FILE.findall(places)
        ]
        told = {found for file in files for found in TELLS.findall(file.read_text())}
        assert row in told, row


def test_no_file_of_faults_is_left_out() -> None:
    named = {file for _, places in entries() for file, _ in FILE.findall(places)}
    assert {one.name for one in HERE.glob("test_*.py")} - named == {Path(__file__).name}
