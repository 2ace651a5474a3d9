"""The check of names: it reads the glossary, and finds a retired word in each kind of name."""

from pathlib import Path

import pytest

from tests.support.names import GLOSSARY, names, retired_words, words_of

#: In two pieces, so that the check does not find it here.
METRIC = "darkroom_" + "pictures"
KEY = "picture" + ":<id>"


def test_the_glossary_retires_words_and_keeps_its_own_terms() -> None:
    retired = retired_words(GLOSSARY.read_text("utf-8"))
    assert {"picture", "hook", "ledger", "told"} <= retired
    assert not {"job", "image", "webhook", "delivery", "claim"} & retired


@pytest.mark.parametrize(
    "name", ["old_picture", "OldPicture", "DARKROOM_PICTURE_BYTES", "dr.picture"]
)
def test_a_name_in_any_form_is_split_into_words(name: str) -> None:
    assert "picture" in words_of(name)
    assert "hook" not in words_of("webhook_url")


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("api/picture.py", "", "picture.py"),
        ("api/a.py", "class Picture: ...", "Picture"),
        ("worker/a.py", "async def picture(): ...", "picture"),
        ("shared/a.py", f'X = Counter("{METRIC}", "")', METRIC),
        ("shared/a.py", f'x = Key("{KEY}", HASH, "")', KEY),
        ("shared/lua/a.lua", "function M.picture() end", "M.picture"),
        ("api/web/files/a.js", "export function pictureOf() {}", "pictureOf"),
    ],
)
def test_each_kind_of_name_is_found(tmp_path: Path, file: str, text: str, name: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert (file, name) in set(names(tmp_path))
