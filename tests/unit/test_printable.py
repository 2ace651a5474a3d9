"""What others wrote never steers a terminal."""

import pytest

from shared.errors import ProviderRejected
from shared.printable import printable, printable_ascii


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("plain, with ä and 猫", "plain, with ä and 猫"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://evil.test\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1bcreset", "reset"),
        ("\x1b(Bcharset", "charset"),
        ("never ended \x1b[31", "never ended 31"),
        ("nul\x00 del\x7f bell\x07 c1\x84", "nul del bell c1"),
        ("right \u202eto\u202c left \u2066x\u2069", "right to left x"),
        ("half \ud83d of a pair", "half  of a pair"),
        ("two\r\nlines\tand a tab\u2028end\x85", "two lines and a tab end "),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
    ],
)
def test_only_what_a_terminal_would_obey_is_taken_out(said: str, kept: str) -> None:
    assert printable(said) == kept


def test_lines_can_be_kept() -> None:
    assert printable("a\n\tb\r\n\x1b[2Jc", lines=True) == "a\n\tb \nc"


def test_a_hostile_text_is_read_in_linear_time() -> None:
    # in quadratic time, this would take minutes
    assert "\x1b" not in printable("\x1b]a" * 200_000 + "\x1b[" * 200_000)


def test_an_identifier_keeps_visible_ascii_only() -> None:
    assert printable_ascii("\x1b[1mb2c3 -ä\u202e\ud800d4\n") == "b2c3-d4"


def test_the_message_of_a_job_s_error_has_no_control_characters() -> None:
    assert str(ProviderRejected("It says: \x1b[2Jno\x00.\nReally.")) == "It says: no. Really."
