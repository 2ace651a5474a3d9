"""Compare the provider's record with the request.

Lenient: what a record omits is no difference, nor is another notation of the same value.
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from shared.model_catalog import Catalog
from shared.printable import printable_ascii
from worker.provider.error_parsing import loose, text


@dataclass(frozen=True, slots=True)
class Request:
    """The request: a model, its `promptObject`, the feature, and the name of the seed."""

    model: str
    prompt_object: Mapping[str, Any]
    feature: str = "IMAGE_GENERATOR"
    seed: str | None = "seed"

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any], models: Catalog) -> Self:
        """Return the request for a model, also one that the catalog no longer has."""
        model = models.get(name)
        if model is None:
            return cls(name, given)
        return cls(name, given, model.feature, model.seed)


def differences(request: Request, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the warnings for a record, of `prompt`, `seed`, `model` and `record`."""
    detail = _mapping(record.get("aiRecordDetail"))
    echo = _mapping(detail.get("promptObject"))
    requested, seed = request.prompt_object, request.seed or ""
    found = {
        "prompt": _differs(requested.get("prompt"), echo.get("prompt"), _normalized_text),
        "seed": _differs(requested.get(seed), echo.get(seed), _number),
        "model": _is_other_model(request.model, record.get("model")),
        "record": _is_odd(record, detail, request.feature),
    }
    return tuple(name for name, differs in found.items() if differs)


def _mapping(value: object) -> Mapping[str, Any]:
    """Read an object that may be JSON inside a string."""
    read = loose(value)
    return read if isinstance(read, dict) else {}


def _differs(requested: object, echoed: object, form: Callable[[object], object]) -> bool:
    if requested is None or echoed is None:
        return False
    return form(requested) != form(echoed)


def _normalized_text(value: object) -> object:
    """Normalise a text: composed characters, single spaces."""
    if not isinstance(value, str):
        return value
    return " ".join(unicodedata.normalize("NFC", text(value)).split())


def _number(value: object) -> object:
    """Normalise a number, also one written as text."""
    try:
        return int(str(value))
    except ValueError:
        pass
    try:
        return float(str(value))
    except ValueError:
        return value


def _is_other_model(requested: str, echoed: object) -> bool:
    """Compare models; a name may lack its vendor."""
    if echoed is None:
        return False
    name = text(echoed).strip().lower()
    return name != requested.lower() and name != requested.lower().rpartition("/")[2]


def _is_odd(record: Mapping[str, Any], detail: Mapping[str, Any], requested: str) -> bool:
    """Return whether a record has several results, another feature, or an unexpected id."""
    results = loose(detail.get("resultObject"))
    record_id, feature = record.get("uuid"), record.get("type")
    return (
        (isinstance(results, list) and len(results) > 1)
        or (isinstance(record_id, str) and printable_ascii(record_id) != record_id)
        or (isinstance(feature, str) and feature.upper() != requested)
    )
