"""Terms: what a job is found by exactly, each as one text that an index can hold.

They are the tags of a job, the pairs of its metadata, its seed, and the words of its prompt.
"""

import hashlib
from collections.abc import Iterable, Mapping

import orjson

from shared.store.codec import spec_of
from shared.words import words

#: Longer terms are stored as a hash: PostgreSQL indexes at most 2,704 bytes of a row.
_BYTES_MAX = 100


def terms(
    *,
    tags: Iterable[str] = (),
    metadata: Mapping[str, str] | None = None,
    seed: int | None = None,
    prompt_words: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return the terms of these values; no term contains a control character."""
    found = [_term("t", orjson.dumps(tag).decode()) for tag in tags]
    pairs = (metadata or {}).items()
    found += [_term("m", orjson.dumps(pair).decode()) for pair in pairs]
    if seed is not None:
        found.append(_term("s", str(seed)))
    found += [_term("w", word) for word in prompt_words]
    return tuple(dict.fromkeys(found))


def terms_of_record(record: Mapping[str, str]) -> tuple[str, ...]:
    """Return the terms of a job by its record."""
    spec = spec_of(record)
    return terms(
        tags=spec.tags,
        metadata=spec.metadata,
        seed=_seed(spec.input.get("seed")),
        prompt_words=words(spec.input.get("prompt", "")),
    )


def _seed(value: object) -> int | None:
    """Return a seed; None for what is no whole number, as a models file may define `seed`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    return None


def _term(kind: str, value: str) -> str:
    """Write a term; `kind` keeps the terms of different kinds apart."""
    written = value.encode()
    if len(written) > _BYTES_MAX:
        return f"{kind}#{hashlib.sha256(written).hexdigest()}"
    return f"{kind}:{value}"
