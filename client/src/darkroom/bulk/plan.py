"""What a folder is to have: an entry for each image, the same for the same line each time."""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from darkroom.bulk.prompt_files import Line

_SLUG_LETTERS = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that is wanted.

    `id` is made of what is asked and of how often the file asked for the same before, so that it
    stays the same when other lines come or go.
    """

    id: str
    line: Line
    body: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """A few letters of the prompt, for the name of a file."""
        slug = re.sub(r"[\W_]+", "-", str(self.body["input"]["prompt"]).lower())
        files = sys.getfilesystemencoding()
        slug = slug.encode(files, "ignore").decode(files).strip("-")
        return slug[:_SLUG_LETTERS].rstrip("-") or "picture"


def entries_of(lines: Iterable[Line], variations: int) -> Iterator[Entry]:
    """Give an entry for each variation of each line; a `seed` is that of the first, then + 1."""
    seen: Counter[str] = Counter()
    for line in lines:
        for step in range(variations):
            body = _varied(line.body, step)
            requested = json.dumps(body, sort_keys=True, ensure_ascii=False)
            seen[requested] += 1
            # half characters are refused when it is sent
            identity_bytes = f"{seen[requested]} {requested}".encode(errors="surrogatepass")
            digest = hashlib.sha256(identity_bytes).hexdigest()
            yield Entry(digest[:32], line, body)


def _varied(body: Mapping[str, Any], step: int) -> Mapping[str, Any]:
    seed = body["input"].get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        return body  # the service says what is wrong with it
    return {**body, "input": {**body["input"], "seed": seed + step}}
