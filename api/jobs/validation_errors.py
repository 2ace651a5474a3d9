"""All faults of a body at once, by JSON pointer, in plain words."""

import re
from collections.abc import Iterable, Mapping
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from api.problems import FieldError, pointer
from shared.model_catalog import FAULTS_MAX, unknown_name

_LOCATION_CHARACTERS = 100
#: The branches of a union whose values are a list or a word.
LIST_BRANCH, WORD_BRANCH = "[list]", "[word]"
#: Parts of pydantic's locations that are no steps in the body.
_NO_STEPS = frozenset({"[key]", LIST_BRANCH, WORD_BRANCH})

#: Messages by pydantic's error type; the braces are filled from the error's context.
_MESSAGES: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "tuple_type": "must be a list",
    "literal_error": "must be one of: {expected}",
    "enum": "must be one of: {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_unicode": "is not valid Unicode",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
}
_PATTERNS: Mapping[str, str] = {
    r"\S": "must not be blank",
    r"^[^\x00-\x1f\x7f]*$": "must not have control characters",
}


def field_errors(
    error: ValidationError, model: type[BaseModel], *under: str | int
) -> list[FieldError]:
    """Translate pydantic's errors; `under` is the path of the validated value in the body."""
    return [_fault(one, model, under) for one in error.errors(include_url=False)[:FAULTS_MAX]]


def pointer_of(*steps: str | int) -> str:
    """Return the JSON pointer of a value; long names are cut."""
    return pointer(*(str(step)[:_LOCATION_CHARACTERS] for step in steps))


def _fault(
    error: Mapping[str, Any], model: type[BaseModel], under: Iterable[str | int]
) -> FieldError:
    path = [*under, *(step for step in error["loc"] if step not in _NO_STEPS)]
    is_name = "[key]" in error["loc"]
    message = _message(error, model)
    if is_name:
        message = f"has a name that {message}"
    return FieldError(pointer_of(*path), message)


def _message(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(error["loc"], model)
    if kind in {"string_too_short", "too_short"} and context["min_length"] == 1:
        return "must not be empty"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"must match the pattern {context['pattern']}")
    return _MESSAGES.get(kind, str(error["msg"])).format(
        **{n: _plain(v) for n, v in context.items()}
    )


def _plain(value: object) -> str:
    """Format a bound without a fraction of 0, or a list of words without quotes."""
    if isinstance(value, float):
        return str(int(value) if value.is_integer() else value)
    return re.sub(r"'([^']*)'", r"\1", str(value)).replace(" or ", ", ")


def _unknown(path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    fields = _model_at(model, path[:-1]).model_fields
    return unknown_name(str(path[-1]), fields)


def _model_at(model: type[BaseModel], path: Iterable[str | int]) -> type[BaseModel]:
    """Return the model of an object within the body."""
    for step in path:
        if isinstance(step, int):
            continue  # an entry of a list, whose annotation names the entries' model
        annotation = model.model_fields[step].annotation
        within = (annotation, *get_args(annotation))
        model = next(one for one in within if isclass(one) and issubclass(one, BaseModel))
    return model
