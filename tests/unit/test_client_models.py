"""The values that the client reads answers into have what `openapi.json` describes, no more."""

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from api.main import create_app
from darkroom import models
from tests.support.api_server import settings

#: What the client adds to a shape, or knows of it by another name.
OWN: Mapping[str, Mapping[str, str | None]] = {
    "JobImage": {"job_id": None, "seed": None, "size_bytes": "bytes"},
    "UsageReport": {"first": "from", "last": "to"},
}
#: The shapes by the client's classes.
SHAPES: Mapping[type[Any], tuple[str, ...]] = {
    models.ImageFacts: ("JobImage",),
    models.JobError: ("JobError",),
    models.Job: ("Job",),
    models.Batch: ("Batch",),
    models.Model: ("Model",),
    models.Usage: ("Usage",),
    models.UsageReport: ("UsageReport",),
    models.Event: ("Event",),
    models.Delivery: ("Delivery", "ListedDelivery"),
    models.Endpoint: ("Endpoint",),
    models.Queue: ("Queue",),
}


@pytest.fixture(scope="module")
def schemas() -> Mapping[str, Any]:
    document = create_app(settings("redis://127.0.0.1:1/0")).openapi()
    named: Mapping[str, Any] = document["components"]["schemas"]
    return named


def known(kind: type[Any], shape: str) -> dict[str, bool]:
    """Return the members that a class reads of a shape, each with whether it may be None."""
    own = OWN.get(shape, {})
    hints = get_type_hints(kind)
    names = {one.name: own.get(one.name, one.name) for one in fields(kind) if one.name != "raw"}
    return {there: NoneType in get_args(hints[here]) for here, there in names.items() if there}


def may_be_none(shape: Mapping[str, Any], name: str) -> bool:
    """Return whether an answer may leave a member out, or have null there."""
    ways = shape["properties"][name].get("anyOf", ())
    return name not in shape["required"] or {"type": "null"} in ways


@pytest.mark.parametrize("kind", SHAPES, ids=lambda kind: kind.__name__)
def test_every_field_of_the_client_is_a_member_of_the_answer(
    kind: type[Any], schemas: Mapping[str, Any]
) -> None:
    shapes = [schemas[name] for name in SHAPES[kind]]
    members = set().union(*(shape["properties"] for shape in shapes))
    assert set(known(kind, SHAPES[kind][0])) <= members


@pytest.mark.parametrize("kind", SHAPES, ids=lambda kind: kind.__name__)
def test_a_field_is_none_only_where_the_answer_may_lack_it(
    kind: type[Any], schemas: Mapping[str, Any]
) -> None:
    for name, is_optional in known(kind, SHAPES[kind][0]).items():
        shapes = [schemas[shape] for shape in SHAPES[kind]]
        lacking = any(name not in one["properties"] or may_be_none(one, name) for one in shapes)
        assert lacking is is_optional, f"{kind.__name__}.{name}"
