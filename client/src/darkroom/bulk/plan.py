"""The images of a folder: one entry for each, the same for the same line every time."""

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
    """A requested image.

    `id` is derived from the request and from how often the file repeats it, so that it stays the
    same when other lines are added or removed.
    """

    id: str
    line: Line
    body: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """Return a short form of the prompt for file names."""
        slug = re.sub(r"[\W_]+", "-", str(self.body["input"]["prompt"]).lower())
        files = sys.getfilesystemencoding()
        slug = slug.encode(files, "ignore").decode(files).strip("-")
        return slug[:_SLUG_LETTERS].rstrip("-") or "image"


def entries_of(lines: Iterable[Line], variations: int) -> Iterator[Entry]:
    """Return an entry for each variation of each line; a `seed` is that of the first, then + 1."""
    seen: Counter[str] = Counter()
    for line in lines:
        for step in range(variations):
            body = _varied(line.body, step)
            requested = json.dumps(body, sort_keys=True, ensure_ascii=False)
            seen[requested] += 1
            # lone surrogates are refused when the request is sent
            identity_bytes = f"{seen[requested]} {requested}".encode(errors="surrogatepass")
            digest = hashlib.sha256(identity_bytes).hexdigest()
            yield Entry(digest[:32], line, body)


def _varied(body: Mapping[str, Any], step: int) -> Mapping[str, Any]:
    """Return the body of a variation; the first is the line's own, so that its entry's id stays."""
    seed = body["input"].get("seed")
    is_integer = isinstance(seed, int) or (isinstance(seed, float) and seed.is_integer())
    if step == 0 or isinstance(seed, bool) or not is_integer:
        return body  # the service reports a seed of another type
    return {**body, "input": {**body["input"], "seed": int(seed) + step}}
