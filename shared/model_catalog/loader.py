"""Read the catalog from its files; one sentence for each mistake.

A sentence names file, model and member. It never quotes a text of the file that is not a name,
because the setting may point at a file with a secret.
"""

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from shared.model_catalog.definition_checks import Fault, input_faults, model_faults
from shared.model_catalog.input_schema import InputSchema, unknown_name
from shared.model_catalog.model import Catalog, Model
from shared.printable import printable

_SHIPPED = Path(__file__).parent
#: The members of a file. Definitions are for YAML anchors.
_MEMBERS = ("models", "definitions")


class BadCatalog(ValueError):
    """A catalog file has mistakes: `sentences`, one for each."""

    def __init__(self, sentences: list[str]) -> None:
        """Take the sentences, each without a full stop."""
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def load_catalog(path: str = "") -> Catalog:
    """Return the shipped models, and those of a file, which replace shipped ones by id.

    A file is read once, unless it changes. Raise BadCatalog with a sentence for each mistake.
    """
    if not path:
        return _shipped()
    try:
        return _extended(path, Path(path).stat().st_mtime_ns)
    except OSError as error:
        raise BadCatalog([f"{path} cannot be read ({error.strerror})"]) from None
    except RecursionError:
        raise BadCatalog(
            [f"{path} is nested too deeply, or a part of it contains itself"]
        ) from None


@cache
def _shipped() -> Catalog:
    files = sorted(_SHIPPED.glob("*.yaml"))
    return MappingProxyType({one.id: one for file in files for one in _read(file)})


@lru_cache(maxsize=8)
def _extended(path: str, _changed_at: int) -> Catalog:
    own = {one.id: one for one in _read(Path(path))}
    models = {**_shipped(), **own}
    if sentences := [f"{path}: {words}" for one in own.values() for words in _taken(one, models)]:
        raise BadCatalog(sentences)
    return MappingProxyType(models)


def _taken(model: Model, models: Catalog) -> Iterator[str]:
    """Check that Replicate's clients can request a model by its name."""
    for other in models.values():
        if other is not model and model.replicate_id in other.replicate_names:
            yield (
                f"model {model.id}: `replicate.id` must be of this model alone, and "
                f"{model.replicate_id} also names {other.id}"
            )


def _read(file: Path) -> list[Model]:
    """Read the models of a file; raise BadCatalog, OSError."""
    known = frozenset() if file.parent == _SHIPPED else frozenset(_shipped())
    definitions = _definitions(file)
    sentences: list[str] = []
    models: list[Model] = []
    ids = [one.get("id") if isinstance(one, Mapping) else None for one in definitions]
    for number, definition in enumerate(definitions):
        found = read_model(definition)
        faults = found if isinstance(found, list) else _among(found, ids[:number], {*ids, *known})
        given = ids[number]
        name = printable(given) if isinstance(given, str) else f"number {number + 1}"
        sentences += [f"{file}: model {name}: `{member}` {words}" for member, words in faults]
        if isinstance(found, Model):
            models.append(found)
    if sentences:
        raise BadCatalog(sentences)
    return models


def _definitions(file: Path) -> list[Any]:
    try:
        content, repeated = _parsed(file.read_bytes())
    except yaml.YAMLError as error:
        raise BadCatalog([f"{file} is not YAML: {_place(error)}"]) from None
    except (UnicodeDecodeError, ValueError):
        raise BadCatalog([f"{file} is not YAML: it has a value that cannot be read"]) from None
    if repeated:
        raise BadCatalog([f"{file}: {sentence}" for sentence in repeated])
    if not isinstance(content, Mapping) or not isinstance(content.get("models"), list):
        raise BadCatalog([f"{file} must be an object with the list `models`"])
    unknown = [str(name) for name in content if name not in _MEMBERS]
    if unknown:
        raise BadCatalog([f"{file}: `{name}` {unknown_name(name, _MEMBERS)}" for name in unknown])
    return list(content["models"])


_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _parsed(text: bytes) -> tuple[Any, list[str]]:
    """Parse YAML; return its content, and a sentence for each name that an object has twice."""
    loader = _YAML(text)
    try:
        root = loader.get_single_node()
        # before the construction, which resolves merges: these may repeat a name
        lines = sorted((one.start_mark.line + 1, one.value) for one in _repeated(root, set()))
        content = loader.construct_document(root) if root else None
    finally:
        loader.dispose()
    return content, [f"line {line}: `{name}` appears twice in one object" for line, name in lines]


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Return the names that an object has twice; YAML silently takes the last value.

    `seen` are the nodes that were visited, because an alias repeats one.
    """
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    names = set()
    for part in node.value:
        for one in part if isinstance(part, tuple) else (part,):
            yield from _repeated(one, seen)
        name = part[0] if isinstance(part, tuple) else None
        if isinstance(name, yaml.ScalarNode):
            if name.value in names:
                yield name
            names.add(name.value)


def _place(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without the text."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem


@cache
def _shape() -> InputSchema:
    return InputSchema(Model.model_json_schema())


def read_model(definition: object) -> Model | list[Fault]:
    """Return the model of a definition, or all faults by member."""
    if unreadable := [(_member(path), words) for path, words in _not_json(definition, ())]:
        return unreadable
    found = [(_member(fault.path), fault.message) for fault in _shape().faults(definition)]
    schema = definition.get("input") if isinstance(definition, Mapping) else None
    if isinstance(schema, Mapping):
        found += input_faults(schema)
    if found:
        return found
    model = Model.model_validate(definition)
    return list(model_faults(model)) or model


def _not_json(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[Any, str]]:
    """Check that there is only what JSON has: YAML reads yes as true, and 2026-01-31 as a date."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if isinstance(name, str):
                yield from _not_json(one, (*path, name))
            else:
                yield path, f"has the name {name}, which must be written in quotation marks"
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _not_json(one, (*path, number))
    elif value is not None and not isinstance(value, str | int | float):
        yield path, f"must not be a {type(value).__name__}: write it in quotation marks"


def _member(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "it"


def _among(model: Model, earlier: list[Any], known: set[Any]) -> Iterator[Fault]:
    """Check a model against the others."""
    if model.id in earlier:
        yield "id", "appears twice in this file"
    for number, other in enumerate(model.fallbacks):
        if other == model.id or other not in known:
            yield f"fallbacks.{number}", f"must name another model, and {other} is none"
