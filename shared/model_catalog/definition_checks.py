"""What a definition must fulfil beyond its shape: names that exist, values that fit.

Each check yields faults as (member, message); the loader adds file and model.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from shared.model_catalog.input_schema import InputSchema, types_of, unknown_name
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

#: The keywords of JSON Schema, draft 2020-12: the validator ignores any other one.
_KEYWORDS = frozenset(
    {
        *("$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"),
        *("$comment", "$defs", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
        *("dependentSchemas", "prefixItems", "items", "contains", "properties", "propertyNames"),
        *("patternProperties", "additionalProperties", "unevaluatedItems", "type", "enum", "const"),
        *("unevaluatedProperties", "multipleOf", "maximum", "exclusiveMaximum", "minimum"),
        *("exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems"),
        *("uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties"),
        *("required", "dependentRequired", "format", "contentEncoding", "contentMediaType"),
        *("contentSchema", "title", "description", "default", "deprecated", "readOnly"),
        *("writeOnly", "examples"),
    }
)
#: The parameter that a tenant may set only if an operator allows it.
_SAFETY = "disable_safety_checker"
#: What the values of each part of a size must be.
_READERS = {
    "ratio": (read_ratio, "a ratio in quotation marks such as '16:9'"),
    "megapixels": (read_megapixels, "a number of megapixels such as '0.25'"),
    "pixels": (read_pixels, "width and height in pixels such as 1024x768"),
}


def input_faults(schema: Mapping[str, Any]) -> Iterator[Fault]:
    """Check the schema of an input."""
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and (faults := [*_parameter_faults(properties)]):
        yield from faults
        return
    try:
        InputSchema(schema)
    except ValueError as error:
        yield "input", f"must be a JSON Schema (draft 2020-12): {error}"
        return
    yield from _object_faults(schema)
    for name, one in schema.get("properties", {}).items():
        yield from _value_faults(name, one, schema)


def _parameter_faults(properties: Mapping[str, Any]) -> Iterator[Fault]:
    """Check that each parameter has a schema, of known keywords."""
    for name, one in properties.items():
        member = f"input.properties.{name}"
        if not isinstance(one, Mapping):
            yield member, "must be an object"
            continue
        for keyword in one:
            if keyword not in _KEYWORDS and not keyword.startswith("x-"):
                yield f"{member}.{keyword}", unknown_name(keyword, _KEYWORDS)


def _object_faults(schema: Mapping[str, Any]) -> Iterator[Fault]:
    """Check that the input is an object with a prompt, and without unknown parameters."""
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if schema.get("type") != "object":
        yield "input.type", "must be object"
    if schema.get("additionalProperties") is not False:
        yield "input.additionalProperties", "must be false: a misspelt parameter would be ignored"
    if types_of(properties.get("prompt", {})) != {"string"}:
        yield "input.properties.prompt", "must be a parameter of the type string"
    if "prompt" not in required:
        yield "input.required", "must name prompt: every job has one"
    for name in (one for one in required if one not in {*properties, "prompt"}):
        yield "input.required", f"must name parameters of the input, and {name} is none"


def _value_faults(name: str, one: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Fault]:
    """Check the default of a parameter, and that each value of its `enum` fits the rest of it."""
    member = f"input.properties.{name}"
    if "default" in one:
        yield from ((f"{member}.default", words) for words in _misfits(one["default"], one, root))
    if name == _SAFETY and types_of(one) != {"boolean"}:
        yield member, "must have the type boolean: only true is refused to tenants"
    if name == _SAFETY and one.get("default") is True:
        yield f"{member}.default", "must be false: an operator allows true for single tenants"
    rest = {keyword: value for keyword, value in one.items() if keyword != "enum"}
    for number, value in enumerate(one.get("enum", ())):
        yield from ((f"{member}.enum.{number}", words) for words in _misfits(value, rest, root))


def model_faults(model: Model) -> Iterator[Fault]:
    """Check a definition whose input is a valid schema."""
    yield from _seed_faults(model)
    yield from _size_faults(model, model.size, "size")
    yield from _format_faults(model)
    yield from _openai_faults(model)
    yield from _replicate_faults(model)


def _properties(model: Model) -> Mapping[str, Any]:
    return model.parameters.properties


def _misfits(value: object, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterable[str]:
    """Return what is wrong with a value by a part of the schema `root`."""
    whole = {"$defs": root.get("$defs", {}), **schema}
    return (fault.message for fault in InputSchema(whole).faults(value))


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
        yield "seed", f"must name a parameter of the type integer, and {model.seed} is not one"
    elif not _accepts_its_seeds(model, model.seed):
        wanted = "a parameter that accepts every integer from its minimum to its maximum"
        yield "seed", f"must name {wanted}, and {model.seed} does not"


def _accepts_its_seeds(model: Model, name: str) -> bool:
    """Return whether a seed may be chosen from the whole range."""
    ends = {*model.seeds[:2], *model.seeds[-2:]}
    schema = _properties(model)[name]
    return bool(ends) and not any([*_misfits(seed, schema, model.input)] for seed in ends)


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
    if not listed:
        yield "format.parameter", "must name a parameter with an `enum`"
        return
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
        yield from (
            (f"{member}.values.{theirs}", words) for words in _misfits(ours, schema, model.input)
        )
    if rule.default is None:
        return
    if rule.values is None:
        faults = _misfits(rule.default, schema, model.input)
        yield from ((f"{member}.default", words) for words in faults)
    elif rule.default not in rule.values:
        yield f"{member}.default", f"must be one of: {', '.join(rule.values)}"


def _replicate_faults(model: Model) -> Iterator[Fault]:
    rules = model.replicate
    yield from _size_faults(model, rules.size, "replicate.size")
    for theirs, ours in rules.names.items():
        if unnamed := _unnamed(model, ours):
            yield f"replicate.names.{theirs}", unnamed
        elif theirs in _properties(model):
            yield f"replicate.names.{theirs}", "must not be the name of a parameter"
    for name, value in rules.defaults.items():
        member = f"replicate.defaults.{name}"
        if unnamed := _unnamed(model, name):
            yield member, unnamed
        else:
            faults = _misfits(value, _properties(model)[name], model.input)
            yield from ((member, words) for words in faults)
