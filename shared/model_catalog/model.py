"""A model as its definition in YAML describes it.

The classes here are the shape of that definition; `docs/models.md` is their manual.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from shared.model_catalog.input_schema import InputSchema

DEFAULT_MODEL = "black-forest-labs/flux-2-klein-9b"
#: The largest integer that every JSON parser represents exactly (2^53 - 1).
SEED_MAX = 9_007_199_254_740_991
#: Seeds chosen by Darkroom fit 31 bits, which every sampler accepts.
CHOSEN_SEED_MAX = 2_147_483_647
#: The highest price of an image: sums of more would not be exact.
CREDITS_MAX = 1_000_000
#: Pixels of one megapixel, as the provider counts them.
MEGAPIXEL = 1024 * 1024
#: The owner of models whose id has none, in the APIs that require one.
OWNER = "1min-ai"

#: The most models that may serve a job instead of the requested one.
FALLBACKS_MAX = 3

Format = Literal["webp", "jpg", "png"]
Source = Literal["specified", "documented"]

_RATIO = re.compile(r"([1-9][0-9]{0,4}):([1-9][0-9]{0,4})")
_PIXELS = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class Expected:
    """What an image should be: its format, width divided by height, and pixels; None: anything."""

    format: Format | None = None
    ratio: float | None = None
    pixels: float | None = None


NOTHING_EXPECTED = Expected()


class Definition(BaseModel):
    """A part of a definition; the loader has checked it in plain words before."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SizeRule(Definition):
    """The parameters that set the size: a ratio with or without megapixels, or width and height."""

    ratio: Annotated[str | None, Field(description="Parameter with values such as 16:9")] = None
    megapixels: Annotated[
        str | None, Field(description="Parameter with values such as 0.25, with `ratio`")
    ] = None
    pixels: Annotated[str | None, Field(description="Parameter with values such as 1024x768")] = (
        None
    )

    @property
    def parameters(self) -> Mapping[str, str]:
        """The parameters by their part in the size."""
        return {part: name for part, name in self if name is not None}


class FormatRule(Definition):
    """The parameter that sets the file format, and the format of each of its values."""

    parameter: str
    values: dict[str, Format]


class Converted(Definition):
    """A member of another API that becomes a parameter of the model."""

    parameter: str
    values: Annotated[
        dict[str, Any] | None,
        Field(description="The parameter's value for each accepted value; absent: all, unchanged"),
    ] = None
    default: Annotated[Any, Field(description="The member's value if it is absent")] = None


Other = Literal["ignore", "refuse"]


class OpenAIRules(Definition):
    """What becomes of the members of OpenAI's Images API."""

    size: SizeRule | Other = "refuse"
    quality: Converted | Other = "ignore"
    output_format: Converted | Other = "refuse"
    output_compression: Converted | Other = "refuse"
    background: Converted | Other = "ignore"


class ReplicateRules(Definition):
    """How the model appears to Replicate's clients."""

    id: Annotated[
        str | None, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name, if not the id")
    ] = None
    names: Annotated[
        dict[str, str], Field(description="The parameter of each other name that is accepted")
    ] = {}
    defaults: Annotated[
        dict[str, Any], Field(description="Defaults that differ from those of the input")
    ] = {}
    size: Annotated[
        SizeRule | None, Field(description="What `size` in pixels sets; absent: no `size`")
    ] = None


class Model(Definition):
    """A model. Its `id` is the provider's name for it."""

    id: Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)?$", max_length=100)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(min_length=1, max_length=1000)]
    source: Source
    feature: Annotated[str, Field(pattern=r"^[A-Z_]+$", max_length=50)] = "IMAGE_GENERATOR"
    input: dict[str, Any]
    seed: str | None = None
    size: SizeRule | None = None
    format: FormatRule | None = None
    openai: OpenAIRules = OpenAIRules()
    replicate: ReplicateRules = ReplicateRules()
    credits: Annotated[float | None, Field(ge=0, le=CREDITS_MAX)] = None
    requests_per_minute: Annotated[int | None, Field(gt=0)] = None
    fallbacks: Annotated[
        tuple[str, ...], Field(max_length=FALLBACKS_MAX, json_schema_extra={"uniqueItems": True})
    ] = ()

    @cached_property
    def parameters(self) -> InputSchema:
        """The parameters, which validate an input and fill in its defaults."""
        return InputSchema(self.input)

    @property
    def replicate_id(self) -> str:
        """The model's owner/name for Replicate's clients."""
        return self.replicate.id or self._owned_id

    @property
    def replicate_names(self) -> frozenset[str]:
        """All names by which Replicate's clients can request the model."""
        return frozenset({self.replicate_id, self._owned_id, self.id})

    @property
    def _owned_id(self) -> str:
        return self.id if "/" in self.id else f"{OWNER}/{self.id}"

    @cached_property
    def version(self) -> str:
        """Its version for Replicate's clients: 64 hexadecimal digits that change with its input."""
        written = json.dumps([self.id, self.input], sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()

    @cached_property
    def seeds(self) -> range:
        """The seeds that the model accepts; empty if it has no seed."""
        if self.seed is None:
            return range(0)
        bounds = list(schemas(self.input["properties"][self.seed]))
        least = max((one["minimum"] for one in bounds if "minimum" in one), default=0)
        most = min((one["maximum"] for one in bounds if "maximum" in one), default=SEED_MAX)
        return range(int(least), int(most) + 1)

    def seed_of(self, given: Mapping[str, Any]) -> int | None:
        """Return the seed of an input; None without one."""
        return given.get(self.seed) if self.seed is not None else None

    def with_seed(self, given: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return an input with this seed; unchanged if the model has no seed."""
        return {**given, self.seed: seed} if self.seed is not None else dict(given)

    def expected(self, given: Mapping[str, Any]) -> Expected:
        """Return what an image of this input should be."""
        wanted = None
        if self.format is not None:
            wanted = self.format.values.get(given.get(self.format.parameter, ""))
        rule = self.size or SizeRule()
        if rule.pixels is not None:
            size = read_pixels(given.get(rule.pixels))
            return Expected(wanted, size and size[0] / size[1], size and size[0] * size[1])
        ratio, area = given.get(rule.ratio or ""), given.get(rule.megapixels or "")
        return Expected(wanted, read_ratio(ratio), read_megapixels(area))


Catalog: TypeAlias = Mapping[str, Model]


def schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return a schema and its branches."""
    yield schema
    for keyword in ("anyOf", "oneOf", "allOf"):
        yield from schema.get(keyword, ())


def values_of(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values that a parameter may have, if its schema lists them."""
    return tuple(value for one in schemas(schema) for value in one.get("enum", ()))


def read_ratio(value: object) -> float | None:
    """Parse a ratio such as 16:9; None if it is not one."""
    found = _RATIO.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) / int(found[2]) if found else None


def read_pixels(value: object) -> tuple[int, int] | None:
    """Parse width and height such as 1024x768; None if it is neither."""
    found = _PIXELS.fullmatch(value) if isinstance(value, str) else None
    return (int(found[1]), int(found[2])) if found else None


def read_megapixels(value: object) -> float | None:
    """Parse a number of megapixels into pixels; None if it is not one."""
    try:
        return float(str(value)) * MEGAPIXEL
    except ValueError:
        return None


def ratios(values: Iterable[object]) -> dict[str, float]:
    """Return the ratios among these values, each with width divided by height."""
    found = ((str(value), read_ratio(value)) for value in values)
    return {name: ratio for name, ratio in found if ratio is not None}
