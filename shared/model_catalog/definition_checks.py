"""What a definition must fulfil beyond its shape: names that exist, values that fit.

Each check yields faults as (member, message); the loader adds file and model.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from shared.model_catalog.input_schema import InputSchema, types_of
from shared.model_catalog.model import (
    Converted,
    Model,
    SizeRule,
    read_megapixels,
    read_pixels,
    read_ratio,
    values_of,
)

Fault: TypeAlias = tuple[str, str]

#: What the values of each part of a size must be.
_READERS = {
    "ratio": (read_ratio, "a ratio in quotation marks such as '16:9'"),
    "megapixels": (read_megapixels, "a number of megapixels such as '0.25'"),
    "pixels": (read_pixels, "width and height in pixels such as 1024x768"),
}


def input_faults(schema: Mapping[str, Any]) -> Iterator[Fault]:
    """Check the schema of an input."""
    try:
        InputSchema(schema)
    except ValueError as error:
        yield "input", f"must be a JSON Schema (draft 2020-12): {error}"
        return
    if schema.get("type") != "object":
        yield "input.type", "must be object"
    if schema.get("additionalProperties") is not False:
        yield "input.additionalProperties", "must be false: a misspelt parameter would be ignored"
    properties = schema.get("properties", {})
    if types_of(properties.get("prompt", {})) != {"string"}:
        yield "input.properties.prompt", "must be a parameter of the type string"
    if "prompt" not in schema.get("required", ()):
        yield "input.required", "must name prompt: every job has one"
    for name, one in properties.items():
        if "default" in one:
            member = f"input.properties.{name}.default"
            yield from ((member, words) for words in _misfits(one["default"], one))


def model_faults(model: Model) -> Iterator[Fault]:
    """Check a definition whose input is a valid schema."""
    yield from _seed_faults(model)
    yield from _size_faults(model, model.size, "size")
    yield from _format_faults(model)
    yield from _openai_faults(model)
    yield from _replicate_faults(model)


def _properties(model: Model) -> Mapping[str, Any]:
    return model.parameters.properties


def _misfits(value: object, schema: Mapping[str, Any]) -> Iterable[str]:
    return (fault.message for fault in InputSchema(schema).faults(value))


def _unnamed(model: Model, name: str) -> str | None:
    """Return the fault of a name that must be a parameter; None if it is one."""
    if name in _properties(model):
        return None
    return f"must name a parameter of the input, and {name} is none of {_listed(model)}"


def _listed(model: Model) -> str:
    return ", ".join(_properties(model))


def _seed_faults(model: Model) -> Iterator[Fault]:
    if model.seed is None:
        return
    if unnamed := _unnamed(model, model.seed):
        yield "seed", unnamed
    elif "integer" not in types_of(_properties(model)[model.seed]):
        yield "seed", f"must name a parameter of the type integer, and {model.seed} is another"


def _size_faults(model: Model, rule: SizeRule | None, member: str) -> Iterator[Fault]:
    parts = {} if rule is None else rule.parameters
    if rule is not None and set(parts) not in ({"ratio"}, {"ratio", "megapixels"}, {"pixels"}):
        yield member, "must have ratio, ratio and megapixels, or pixels"
        return
    for part, name in parts.items():
        read, wanted = _READERS[part]
        if unnamed := _unnamed(model, name):
            yield f"{member}.{part}", unnamed
        elif not any(read(value) for value in values_of(_properties(model)[name])):
            yield f"{member}.{part}", f"must name a parameter whose `enum` has {wanted}"


def _format_faults(model: Model) -> Iterator[Fault]:
    if model.format is None:
        return
    if unnamed := _unnamed(model, model.format.parameter):
        yield "format.parameter", unnamed
        return
    listed = values_of(_properties(model)[model.format.parameter])
    for value in (one for one in listed if one not in model.format.values):
        yield "format.values", f"must have the format of every value, and {value} is missing"
    for value in (one for one in model.format.values if one not in listed):
        yield f"format.values.{value}", f"is not in the `enum` of {model.format.parameter}"


def _openai_faults(model: Model) -> Iterator[Fault]:
    for member, rule in model.openai:
        if isinstance(rule, SizeRule):
            yield from _size_faults(model, rule, f"openai.{member}")
        elif isinstance(rule, Converted):
            yield from _converted_faults(model, rule, f"openai.{member}")


def _converted_faults(model: Model, rule: Converted, member: str) -> Iterator[Fault]:
    if unnamed := _unnamed(model, rule.parameter):
        yield f"{member}.parameter", unnamed
        return
    schema = _properties(model)[rule.parameter]
    for theirs, ours in (rule.values or {}).items():
        yield from ((f"{member}.values.{theirs}", words) for words in _misfits(ours, schema))
    if rule.default is None:
        return
    if rule.values is None:
        yield from ((f"{member}.default", words) for words in _misfits(rule.default, schema))
    elif rule.default not in rule.values:
        yield f"{member}.default", f"must be one of: {', '.join(rule.values)}"


def _replicate_faults(model: Model) -> Iterator[Fault]:
    rules = model.replicate
    yield from _size_faults(model, rules.size, "replicate.size")
    for theirs, ours in rules.names.items():
        if unnamed := _unnamed(model, ours):
            yield f"replicate.names.{theirs}", unnamed
    for name, value in rules.defaults.items():
        member = f"replicate.defaults.{name}"
        if unnamed := _unnamed(model, name):
            yield member, unnamed
        else:
            yield from ((member, words) for words in _misfits(value, _properties(model)[name]))
