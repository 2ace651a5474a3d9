"""What the stack's processes say, on the terminal and in their files."""

import io
import json
from pathlib import Path

import pytest

from sandbox.devstack.console import LOG_BYTES, Log, Screen


def test_a_terminal_shows_whose_line_it_is() -> None:
    stream = io.StringIO()
    Screen(console=True, stream=stream).pass_on("api", "hello")
    assert stream.getvalue() == "api         hello\n"


def test_elsewhere_json_passes_as_it_is_and_everything_else_becomes_json() -> None:
    stream = io.StringIO()
    screen = Screen(console=False, stream=stream)
    screen.pass_on("api", '{"event": "hello"}')
    screen.log("killed", level="warning", name="redis")
    screen.pass_on("provider", "at http://127.0.0.1:1")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first == {"event": "hello"}
    assert (third["event"], third["process"]) == ("at http://127.0.0.1:1", "provider")
    assert (second["event"], second["process"], second["level"]) == ("killed", "redis", "warning")


def test_pieces_become_lines_and_the_file_has_every_byte(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = Log(tmp_path / "api.log", "api", Screen(console=True, stream=stream))
    for piece in (b"on", b"e\ntwo\nthr", b"ee"):
        log.add(piece)
    log.end()
    log.close()
    assert stream.getvalue().split() == ["api", "one", "api", "two", "api", "three"]
    assert list(log.last) == ["one", "two", "three"]
    assert (tmp_path / "api.log").read_bytes() == b"one\ntwo\nthree"


def test_a_log_that_grew_large_makes_room(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    with path.open("wb") as file:
        file.truncate(LOG_BYTES + 1)
    log = Log(path, "api", None)
    log.add(b"new\n")
    log.close()
    assert path.read_bytes() == b"new\n"
    assert path.with_name("api.log.1").stat().st_size == LOG_BYTES + 1


def test_a_screen_that_nobody_reads_any_more_does_no_harm(tmp_path: Path) -> None:
    stream = (tmp_path / "out").open("w", encoding="utf-8")
    stream.close()
    screen = Screen(console=True, stream=stream)
    screen.log("one")
    screen.log("two")
    with pytest.raises(ValueError, match="closed"):
        stream.write("")
