"""JSON request bodies; values that JSON cannot represent are reported by their path."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from darkroom.errors import Fault, InvalidInput

#: The service accepts no deeper nesting.
_DEPTH_MAX = 100
#: The range of integers that JSON parsers represent exactly.
_INTEGER_MIN, _INTEGER_END = -(2**63), 2**64


def write_body(body: object) -> bytes:
    """Write a body; raise InvalidInput, which names every fault by its JSON pointer."""
    faults = list(faults_in(body))
    if faults:
        raise InvalidInput.of(faults)
    written = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=dict)
    return written.encode()


def faults_in(value: object, pointer: str = "", depth: int = 0) -> Iterator[Fault]:
    """Yield what cannot be sent of a value: NaN, infinities, lone surrogates, unknown types."""
    message = _wrong(value) if depth <= _DEPTH_MAX else "is nested too deeply"
    if message:
        yield Fault(pointer, message)
    elif isinstance(value, Mapping):
        for name, member in value.items():
            step = str(name).replace("~", "~0").replace("/", "~1")
            if not _is_unicode(step):
                yield Fault(pointer, "has a name that is not valid Unicode")
                continue
            yield from faults_in(member, f"{pointer}/{step}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            yield from faults_in(member, f"{pointer}/{index}", depth + 1)


def _wrong(value: Any) -> str | None:  # noqa: ANN401  whatever a caller passes
    """Return what is wrong with a single value."""
    match value:
        case bool() | None | Mapping() | list() | tuple():
            return None
        case str():
            return None if _is_unicode(value) else "is not valid Unicode"
        case int():
            return None if _INTEGER_MIN <= value < _INTEGER_END else "is too large"
        case float():
            return None if math.isfinite(value) else "must be a finite number"
        case _:
            return f"is a value of type {type(value).__name__}, which JSON does not have"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
