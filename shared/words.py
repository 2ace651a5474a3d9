"""What a word of a prompt is: defined here only, for jobs and for searches alike.

Redis and the history compare words byte by byte, so that a search finds the same in both. Words of
an ASCII prompt are not stored in Redis: `find_jobs.lua` splits such a prompt by the same rule.
"""

import unicodedata

#: The different words of a prompt that can be searched; further ones are not stored.
WORDS_MAX = 200
#: The characters of a word that are compared.
WORD_CHARACTERS = 64
#: Letters, marks and numbers make words; everything else separates them.
_CATEGORIES = frozenset("LMN")
#: How the names of characters begin that are written without spaces: each is a word.
_ALONE = ("CJK ", "HIRAGANA ", "KATAKANA ")
#: Characters that are looked up once.
_REMEMBERED = 10_000


def words(text: str) -> tuple[str, ...]:
    """Return the different words of a text, without differences of case and of Unicode form."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # folding may leave characters that another form writes as one
    spaced = unicodedata.normalize("NFKC", folded).translate(_SPACING)
    return tuple(dict.fromkeys(word[:WORD_CHARACTERS] for word in spaced.split()))[:WORDS_MAX]


def words_text(text: str) -> str:
    """Return the words of a text as a record stores them: separated by spaces."""
    return " ".join(words(text))


class _Spacing(dict[int, str]):
    """What each character becomes: itself, itself between spaces, or a space."""

    def __missing__(self, code: int) -> str:
        """Look a character up, and remember it: `str.translate` asks for each."""
        character = chr(code)
        spaced = " "
        if unicodedata.category(character)[0] in _CATEGORIES:
            is_alone = unicodedata.name(character, "").startswith(_ALONE)
            spaced = f" {character} " if is_alone else character
        if len(self) < _REMEMBERED:
            self[code] = spaced
        return spaced


_SPACING = _Spacing()
