"""The catalog of models with their parameters, types, ranges and defaults.

A new model is an entry here and nothing else: validation, defaults, the JSON Schema and the
playground's form read it. The source of each number is the provider's own document of FLUX.2 Klein
9B; Klein 4B takes the same `promptObject`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

PROMPT_CHARACTERS = 10_000
#: The largest integer that every JSON parser represents exactly (2^53 - 1).
SEED_MAX = 9_007_199_254_740_991
#: Seeds chosen by Darkroom fit 31 bits, which every sampler accepts.
CHOSEN_SEED_MAX = 2_147_483_647


def _integer(value: object) -> object:
    return int(value) if type(value) is float and value.is_integer() else value


#: JSON Schema's integer: 7.0 and 7e0 equal 7, because most languages have one number type.
INTEGER = BeforeValidator(_integer)


class KleinInput(BaseModel):
    """The parameters of the FLUX.2 Klein models. Strict: `"4"` is not 4, and 4 is not `"4"`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, title="FLUX.2 Klein input")

    prompt: Annotated[
        str,
        StringConstraints(min_length=1, max_length=PROMPT_CHARACTERS, pattern=r"\S"),
        Field(description="Text description of the image to generate"),
    ]
    aspect_ratio: Annotated[
        Literal["1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4"],
        Field(description="Image aspect ratio"),
    ] = "1:1"
    output_format: Annotated[
        Literal["webp", "jpg", "png"], Field(description="Output file format")
    ] = "webp"
    output_quality: Annotated[
        int, Field(ge=0, le=100, description="Output image quality (0-100)"), INTEGER
    ] = 80
    num_inference_steps: Annotated[
        int, Field(ge=1, le=4, description="Number of inference steps (1-4)"), INTEGER
    ] = 4
    go_fast: Annotated[bool, Field(description="Enable fastest generation mode")] = True
    megapixels: Annotated[
        Literal["0.25", "1"], Field(description="Output resolution in megapixels")
    ] = "1"
    disable_safety_checker: Annotated[
        bool, Field(description="Disable built-in safety filtering")
    ] = False
    seed: Annotated[
        int | None,
        Field(ge=0, le=SEED_MAX, description="Random seed for reproducibility; chosen if missing"),
        INTEGER,
    ] = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model. Its `id` is the provider's name for it."""

    id: str
    name: str
    description: str
    input: type[BaseModel]

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of the input."""
        return self.input.model_json_schema()

    def defaults(self) -> dict[str, Any]:
        """Return the default of every optional parameter; the seed has none."""
        return {
            name: info.default
            for name, info in self.input.model_fields.items()
            if not info.is_required() and info.default is not None
        }


DEFAULT_MODEL = "black-forest-labs/flux-2-klein-9b"

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.id: model
        for model in (
            Model(
                id=DEFAULT_MODEL,
                name="FLUX.2 Klein 9B",
                description="4-step distilled, richer detail than 4B, sub-second.",
                input=KleinInput,
            ),
            Model(
                id="black-forest-labs/flux-2-klein-4b",
                name="FLUX.2 Klein 4B",
                description="4-step distilled, the most images a second.",
                input=KleinInput,
            ),
        )
    }
)

#: Width divided by height by ratio, for checking an image against the request.
RATIOS: Mapping[str, float] = MappingProxyType(
    {
        ratio: int(ratio.split(":")[0]) / int(ratio.split(":")[1])
        for ratio in ("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4")
    }
)


def read_prices(written: str) -> dict[str, str]:
    """Parse `model=credits,…`, the numbers as written; raise ValueError that names every mistake.

    The provider publishes no prices, so there are none by default.
    """
    found: dict[str, str] = {}
    faults = []
    for part in filter(None, (part.strip() for part in written.split(","))):
        name, _, credits_each = (side.strip() for side in part.rpartition("="))
        if name not in MODELS:
            faults.append(f"{part} does not begin with a model")
        elif name in found:
            faults.append(f"{name} is named twice")
        elif not _is_price(credits_each):
            faults.append(f"{part} does not end with a number of at least 0")
        found[name] = credits_each
    if faults:
        rule = f"write model=credits,… with the models {', '.join(MODELS)}"
        raise ValueError(f"{'; '.join(faults)}; {rule}")
    return found


def _is_price(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False
