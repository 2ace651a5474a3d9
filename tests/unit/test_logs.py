"""What never reaches a line of the log."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from pathlib import Path

import pytest
import structlog

from shared import logs
from shared.api_keys import new_key
from shared.logs import cut_secrets, without_secrets
from shared.settings import Settings

KEY = new_key().text


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("nothing of note", "nothing of note"),
        ("GET https://h.test/a/b.webp?sig=1&x=2 failed", "GET https://h.test/a/b.webp?… failed"),
        ("see 'https://h.test/a?sig=1'.", "see 'https://h.test/a?…'."),
        ("http://h.test/?a=1 http://i.test/?b=2", "http://h.test/?… http://i.test/?…"),
        ("HTTPS://h.test/a?sig=1", "HTTPS://h.test/a?…"),
        ("redis://:word@h.test:6379/0", "redis://…@h.test:6379/0"),
        ("redis://user:w@rd@h.test:6379/0", "redis://…@h.test:6379/0"),
        ("https://u:p@h.test/hook", "https://…@h.test/hook"),
        ("mail to a@h.test", "mail to a@h.test"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==", "whsec_…"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_secrets_are_cut_out_of_a_text(said: str, meant: str) -> None:
    assert cut_secrets(said) == meant


def test_of_a_key_only_the_start_of_its_id_is_left() -> None:
    cut = cut_secrets(f"key {KEY} refused")
    assert cut == f"key {KEY[:7]}… refused"


def test_every_text_of_a_line_is_cut_and_nothing_else_is_touched() -> None:
    line = {"event": f"a {KEY}", "url": "https://h.test/?a=1", "count": 3, "none": None}
    assert without_secrets(None, "info", dict(line)) == {
        "event": f"a {KEY[:7]}…",
        "url": "https://h.test/?…",
        "count": 3,
        "none": None,
    }


def test_lists_and_mappings_in_a_line_are_cut_too() -> None:
    line = {"event": "x", "urls": ["https://h.test/?a=1"], "more": {"key": KEY}}
    assert without_secrets(None, "info", line) == {
        "event": "x",
        "urls": ["https://h.test/?…"],
        "more": {"key": f"{KEY[:7]}…"},
    }


Said = pytest.CaptureFixture[str]


@pytest.fixture
def said(capsys: Said) -> Iterator[Said]:
    root = logging.getLogger()
    handlers, level, before = root.handlers, root.level, structlog.get_config()
    yield capsys
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


def fail_with_secret() -> None:
    raise ValueError(f"could not fetch https://h.test/a?sig=secret with {KEY}")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_trace_is_cut_as_well(said: Said, form: str) -> None:
    # given
    logs.configure(Settings(log_format=form))
    # when
    try:
        fail_with_secret()
    except ValueError:
        structlog.stdlib.get_logger("t").exception("it broke")
        logging.getLogger("a.vendor").exception("it broke at %s", "redis://:word@h.test")
    # then
    text = said.readouterr().err
    assert text.count("ValueError") >= 2
    assert "sig=secret" not in text
    assert KEY not in text
    assert ":word@" not in text


def test_a_line_of_json_has_its_fields(said: Said) -> None:
    logs.configure(Settings(log_format="json"))
    with structlog.contextvars.bound_contextvars(job_id="job_1"):
        structlog.stdlib.get_logger("worker.x").warning("job retried", wait_seconds=1.5)
    line = json.loads(said.readouterr().err)
    assert line["event"] == "job retried"
    assert (line["level"], line["logger"], line["job_id"]) == ("warning", "worker.x", "job_1")
    assert line["wait_seconds"] == 1.5
    assert line["timestamp"].endswith("Z")


def test_a_line_below_the_level_is_not_written(said: Said) -> None:
    logs.configure(Settings(log_format="json", log_level="warning"))
    logs.log("worker.x").info("job done")
    logs.log("worker.x").warning("job retried")
    assert json.loads(said.readouterr().err)["event"] == "job retried"


@pytest.mark.usefixtures("said")
def test_a_full_disk_does_not_fail_what_logs() -> None:
    with ExitStack() as stack:
        full = stack.enter_context(Path("/dev/full").open("w", buffering=1))
        with redirect_stderr(full):
            logs.configure(Settings(log_format="json"))
            logs.log("worker.x").info("job done")
        with pytest.raises(OSError, match="No space left"):  # the line is still in the buffer
            stack.close()


def test_what_libraries_say_of_each_request_is_not_logged(said: Said) -> None:
    logs.configure(Settings(log_format="json"))
    logging.getLogger("httpx").info("HTTP Request: GET https://h.test/?sig=1")
    assert said.readouterr().err == ""


def test_the_server_speaks_in_the_same_form(said: Said) -> None:
    server = logging.getLogger("uvicorn")
    server.addHandler(logging.StreamHandler())
    server.propagate = False
    logs.configure(Settings(log_format="json"))
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert json.loads(said.readouterr().err)["event"] == "Invalid HTTP request received."


def test_what_is_said_again_and_again_passes_once_and_without_its_trace() -> None:
    once = logs.Once()
    first, again, other = (
        logging.LogRecord("n", logging.WARNING, "p", 1, text, (), (ValueError, ValueError(), None))
        for text in ("refused", "refused", "missed")
    )
    assert [once.filter(one) for one in (first, again, other)] == [True, False, True]
    assert first.exc_info is None


def test_no_control_character_reaches_a_line_and_only_a_trace_has_several() -> None:
    line = {"event": "a\x1b[2J\nforged line", "exception": "Traceback\n  \x1b]0;x\x07here", "n": 1}

    assert without_secrets(None, "info", line) == {
        "event": "a forged line",
        "exception": "Traceback\n  here",
        "n": 1,
    }


def test_a_secret_that_control_characters_cut_in_two_is_still_found() -> None:
    assert cut_secrets_of({"url": "https://h.te\x00st/a?si\x07g=1"}) == {
        "url": "https://h.test/a?…"
    }


def cut_secrets_of(line: dict[str, object]) -> dict[str, object]:
    return dict(without_secrets(None, "info", line))
