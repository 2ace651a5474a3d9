"""FastAPI's OpenAPI document, with the shapes that FastAPI cannot know."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from api.compat.openai.errors import OpenAIError
from api.compat.replicate.errors import ReplicateError
from api.problems import REF, ProblemBody
from api.routing import Route
from shared.model_catalog import Catalog
from shared.settings import Settings

#: The shapes of problems: FastAPI takes no model for responses other than plain JSON.
_PROBLEMS = {"Problem": ProblemBody, "OpenAIError": OpenAIError, "ReplicateError": ReplicateError}
_VALIDATION = ("HTTPValidationError", "ValidationError")


def document_of(
    app: FastAPI, routes: Iterable[Route], settings: Settings
) -> Callable[[], dict[str, Any]]:
    """Return a function that builds the document of an app once."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = describe()
            document["servers"] = [{"url": settings.public_prefix or "/"}]
            _add_shapes(document, routes)
            _add_inputs(document["components"]["schemas"], settings.models)
            _drop_framework_errors(document)
        return app.openapi_schema or {}

    return openapi


def _add_shapes(document: dict[str, Any], routes: Iterable[Route]) -> None:
    """Add bodies, which the routes read themselves, and problems."""
    template = f"{REF}{{model}}"
    # in their order: every process describes the same document
    bodies = dict.fromkeys(model for route in routes if route.body for model in route.body.models)
    shapes = {model.__name__: model.model_json_schema(ref_template=template) for model in bodies}
    for name, shape in _PROBLEMS.items():
        shapes[name] = TypeAdapter(shape).json_schema(ref_template=template)
    named = document["components"]["schemas"]
    for name, schema in shapes.items():
        named |= {**schema.pop("$defs", {}), name: schema}
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}


def _add_inputs(named: dict[str, Any], models: Catalog) -> None:
    """Add the inputs of the models; models with the same input share its shape."""
    inputs = {_component(model.input["title"]): model.input for model in models.values()}
    named |= inputs
    refs = [{"$ref": f"{REF}{name}"} for name in inputs]
    named["JobBody"]["properties"]["input"] = {"anyOf": refs}
    images = named["ImagesBody"]
    parameters = {
        name: one for input_ in inputs.values() for name, one in input_["properties"].items()
    }
    images["properties"] = {**parameters, **images["properties"]}
    images["required"] = ["prompt"]


def _component(title: str) -> str:
    """Return the name of a shape: the words of its title, joined."""
    return "".join(word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", title))


def _drop_framework_errors(document: dict[str, Any]) -> None:
    """Remove the framework's own error shape, which no route returns."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if _VALIDATION[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in _VALIDATION:
        document["components"]["schemas"].pop(name, None)
