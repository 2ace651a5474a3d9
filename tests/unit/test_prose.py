"""The check of prose finds what it is for."""

import pytest

from tests.support.prose import LONGEST, faults

RETIRED = frozenset({"picture"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("The picture is stored.", "“picture” is retired"),
        ("Start it anew.", "“anew”: write again"),
        (" ".join(["word"] * (LONGEST + 1)) + ".", f"a sentence of {LONGEST + 1} words"),
    ],
)
def test_each_kind_of_fault_is_found(text: str, says: str) -> None:
    (fault,) = faults(text, RETIRED)
    assert says in fault


@pytest.mark.parametrize(
    "text",
    ["The image is stored.", "Run `picture anew`.", "See [this](docs/picture.md) page."],
)
def test_plain_sentences_and_code_pass(text: str) -> None:
    assert list(faults(text, RETIRED)) == []
