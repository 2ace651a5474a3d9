"""Validation of a model's input against its JSON Schema (draft 2020-12), in plain words."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError, ValidationErrorKind
from pydantic import BeforeValidator

#: Further faults are not reported: nobody reads them, and a hostile body could cause a million.
FAULTS_MAX = 100
_NAME_CHARACTERS = 100
_TYPES: Mapping[str, str] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
#: Messages by keyword; the braces are filled from the error.
_MESSAGES: Mapping[str, str] = {
    "minimum": "must be at least {limit}",
    "maximum": "must be at most {limit}",
    "exclusiveMinimum": "must be more than {limit}",
    "exclusiveMaximum": "must be less than {limit}",
    "multipleOf": "must be a multiple of {multiple_of}",
    "minLength": "must have at least {limit} characters",
    "maxLength": "must have at most {limit} characters",
    "minItems": "must have at least {limit} entries",
    "maxItems": "must have at most {limit} entries",
    "minProperties": "must have at least {limit} members",
    "maxProperties": "must have at most {limit} members",
    "uniqueItems": "must not have duplicates",
}
_PATTERNS: Mapping[str, str] = {r"\S": "must not be blank"}
#: Of several faults of one value, the one of the earliest keyword here is reported.
_FIRST = ("enum", "const", "type", "minLength", "maxLength")
#: Keywords that combine schemas, of which one or more must fit.
_BRANCHES = frozenset({"anyOf", "oneOf"})


def _integer(value: object) -> object:
    return int(value) if type(value) is float and value.is_integer() else value


#: JSON Schema's integer: 7.0 and 7e0 equal 7, because most languages have one number type.
INTEGER = BeforeValidator(_integer)


class InputFault(NamedTuple):
    """A fault of an input: where it is, and what is wrong."""

    path: tuple[str | int, ...]
    message: str


class InputSchema:
    """The JSON Schema of an object: it validates one and fills in its defaults."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile a schema; raise ValueError if it is not a valid one.

        Patterns are matched in linear time; references to other documents are not followed.
        """
        try:
            self._validator = Draft202012Validator(
                dict(schema), pattern_options=RegexOptions(), offline=True
            )
        except ValidationError as error:
            faults = [fault for fault, _ in _faults([error], ())]
            path = ".".join(map(str, error.instance_path)) or "it"
            words = f": {faults[0].message}" if faults else ""
            raise ValueError(f"{path} is not valid{words}") from None
        self.properties: Mapping[str, Any] = schema.get("properties", {})
        self._integers = frozenset(
            name for name, one in self.properties.items() if "integer" in types_of(one)
        )
        #: each parameter with its default, or with `_ABSENT`
        self._defaults = {
            name: one.get("default", _ABSENT) for name, one in self.properties.items()
        }

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of every parameter that has one, except null."""
        return {
            name: value
            for name, value in self._defaults.items()
            if value is not _ABSENT and value is not None
        }

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any] | list[InputFault]:
        """Validate an object; return it with its defaults, in the schema's order, or all faults.

        A whole number may be written 7.0.
        """
        # where a schema accepts anything, the validator accepts infinite numbers too
        if not self._validator.is_valid(given) or any(map(_has_infinite, given.values())):
            return self.faults(given)
        found = {}
        for name, default in self._defaults.items():
            value = given.get(name, default)
            if value is not _ABSENT:
                found[name] = _integer(value) if name in self._integers else value
        return found

    def faults(self, given: object) -> list[InputFault]:
        """Return the faults of a value, at most one for each of its members, in order."""
        errors = _faults(self._validator.iter_errors(given), self.properties)
        ranked = [*_infinite(given), *errors]
        found: dict[tuple[str | int, ...], tuple[int, InputFault]] = {}
        for fault, rank in ranked:
            if fault.path not in found or rank < found[fault.path][0]:
                found[fault.path] = rank, fault
        order = {name: at for at, name in enumerate(self.properties)}
        faults = [fault for _, fault in found.values()]
        return sorted(faults, key=lambda one: order.get(_first(one.path), len(order)))[:FAULTS_MAX]


#: Stands for the default of a parameter that has none.
_ABSENT = object()


def _first(path: Sequence[str | int]) -> str:
    return str(path[0]) if path else ""


def _infinite(given: object) -> Iterator[tuple[InputFault, int]]:
    """Return a fault for each member with an infinite number, which JSON does not have."""
    members = given.items() if isinstance(given, Mapping) else ()
    for name, value in members:
        if _has_infinite(value):
            yield InputFault((name,), "must be a finite number"), -1


def _has_infinite(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_infinite, value.values()))
    if isinstance(value, list):
        return any(map(_has_infinite, value))
    return type(value) is float and not math.isfinite(value)


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the types that a schema names, also in its branches."""
    named = schema.get("type", ())
    found = {named} if isinstance(named, str) else set(named)
    for keyword in _BRANCHES:
        for branch in schema.get(keyword, ()):
            found |= types_of(branch)
    return frozenset(found)


def unknown_name(name: str, names: Iterable[str]) -> str:
    """Return the message for an unknown name, with the known name that it resembles."""
    close = difflib.get_close_matches(name[:_NAME_CHARACTERS], names, n=1)
    return f"is unknown; did you mean {close[0]}?" if close else "is unknown"


def _faults(
    errors: Iterable[ValidationError], properties: Iterable[str]
) -> Iterator[tuple[InputFault, int]]:
    """Return each fault with its rank among those of the same value."""
    for error in errors:
        path, kind = tuple(error.instance_path), error.kind
        if isinstance(kind, ValidationErrorKind.AdditionalProperties):
            known = properties if not path else ()
            for name in kind.unexpected[:FAULTS_MAX]:
                yield InputFault((*path, name), unknown_name(name, known)), 0
        elif isinstance(kind, ValidationErrorKind.Required):
            yield InputFault((*path, kind.property), "is required"), 0
        elif branch := _branch(error):
            yield from _faults(branch, properties)
        else:
            rank = _FIRST.index(kind.name) if kind.name in _FIRST else len(_FIRST)
            yield InputFault(path, _message(error)), rank


def _branch(error: ValidationError) -> Sequence[ValidationError]:
    """Return the errors of the branch that was meant: the first for values of this type."""
    kind = error.kind
    if kind.name not in _BRANCHES:
        return ()
    branches: list[list[ValidationError]] = getattr(kind, "context", [])
    meant = (branch for branch in branches if not any(_is_other_type(error, one) for one in branch))
    of_values = (branch for branch in branches if not any(map(_asks_for_null, branch)))
    return next(meant, None) or next(of_values, None) or ()


def _is_other_type(parent: ValidationError, error: ValidationError) -> bool:
    return error.kind.name == "type" and error.instance_path == parent.instance_path


def _asks_for_null(error: ValidationError) -> bool:
    return isinstance(error.kind, ValidationErrorKind.Type) and error.kind.types == ["null"]


def _message(error: ValidationError) -> str:
    kind = error.kind
    if isinstance(kind, ValidationErrorKind.Type):
        return f"must be {' or '.join(_TYPES.get(one, one) for one in kind.types)}"
    if isinstance(kind, ValidationErrorKind.Enum):
        return f"must be one of: {', '.join(map(_plain, kind.options))}"
    if isinstance(kind, ValidationErrorKind.Constant):
        return f"must be {_plain(kind.expected_value)}"
    if isinstance(kind, ValidationErrorKind.Pattern):
        return _PATTERNS.get(kind.pattern, f"must match the pattern {kind.pattern}")
    values = kind.as_dict()
    if kind.name in {"minLength", "minItems"} and values.get("limit") == 1:
        return "must not be empty"
    message = _MESSAGES.get(kind.name, f"does not fit `{kind.name}` of the schema")
    return message.format(**{name: _plain(value) for name, value in values.items()})


def _plain(value: object) -> str:
    """Write a value without quotes, and a number without a fraction of 0."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(_integer(value)) if value is not None else "null"
