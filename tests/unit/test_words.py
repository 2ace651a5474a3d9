"""What a word of a prompt is, and the terms under which the history finds a job."""

import pytest

from shared.history.terms import terms
from shared.words import WORD_CHARACTERS, WORDS_MAX, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A lighthouse, at dawn", ("a", "lighthouse", "at", "dawn")),
        ("blue-green/don't_stop", ("blue", "green", "don", "t", "stop")),
        ("red RED Red", ("red",)),
        ("Straße STRASSE", ("strasse",)),
        ("ΣΊΣΥΦΟΣ Σίσυφος", ("σίσυφοσ",)),
        # composed and decomposed, ligature, full width, Roman numeral
        ("é e\u0301", ("é",)),
        ("ﬁne \uff21\uff22 Ⅷ", ("fine", "ab", "viii")),
        ("हिन्दी चित्र", ("हिन्दी", "चित्र")),
        ("灯塔と猫 16:9", ("灯", "塔", "と", "猫", "16", "9")),
        ("a\x00b\nc\u00a0d\u200be", ("a", "b", "c", "d", "e")),
        ("!? …", ()),
        ("", ()),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits(text: str, found: tuple[str, ...]) -> None:
    assert words(text) == found
    assert words(" ".join(words(text))) == found


def test_long_words_and_long_texts_are_cut() -> None:
    assert words("x" * 100) == ("x" * WORD_CHARACTERS,)
    assert len(words(" ".join(map(str, range(1000))))) == WORDS_MAX


def test_terms_of_different_kinds_and_pairs_are_different() -> None:
    found = [
        *terms(tags=["7"], seed=7, prompt_words=["7"], metadata={"7": "7"}),
        *terms(metadata={"a=b": "c"}),
        *terms(metadata={"a": "b=c"}),
        *terms(metadata={"a": ""}),
        *terms(tags=["é" * 64], metadata={"é" * 64: "é" * 512}),
        *terms(tags=["é" * 63]),
    ]
    assert len({*found}) == 10
    # what PostgreSQL can store and index
    assert all("\x00" not in term and len(term.encode()) < 200 for term in found)
    assert "\x00" not in terms(metadata={"a": "\x00"})[0]
