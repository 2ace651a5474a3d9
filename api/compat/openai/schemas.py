"""The body of OpenAI's `images/generations`, strictly validated.

Any other member (`seed`, `aspect_ratio`, …) is a parameter of the model and validated there.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from api.jobs.schemas import Strict
from shared.model_catalog import INTEGER

N_MAX = 10
USER_CHARACTERS = 512
Formats = Literal["png", "webp", "jpeg"]


class ImagesBody(Strict):
    """Requests images; null counts as absent.

    What `size`, `quality`, `output_format`, `output_compression` and `background` set depends on
    the model, and so do their values.
    """

    model: Annotated[str | None, Field(description="One of `GET /openai/v1/models`")] = None
    n: Annotated[
        int | None, Field(ge=1, le=N_MAX, description="How many, with different seeds"), INTEGER
    ] = None
    size: Annotated[
        str | None,
        Field(description="`auto`, or `WxH`: the nearest that the model offers is used"),
    ] = None
    response_format: Annotated[
        Literal["url", "b64_json"] | None, Field(description="Default: `b64_json`")
    ] = None
    output_format: Annotated[
        Formats | None, Field(description="Default: `png`, if the model has it")
    ] = None
    output_compression: Annotated[
        int | None, Field(ge=0, le=100, description="The quality of webp and jpeg"), INTEGER
    ] = None
    user: Annotated[
        str | None, Field(max_length=USER_CHARACTERS, description="Kept as `metadata.user`")
    ] = None
    safety_identifier: Annotated[
        str | None, Field(max_length=USER_CHARACTERS, description="Takes precedence over `user`")
    ] = None
    background: Annotated[
        Literal["auto", "opaque", "transparent"] | None,
        Field(description="`transparent` only for models that can make it"),
    ] = None
    quality: Annotated[
        Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None,
        Field(description="Without effect on models that have no quality"),
    ] = None
    moderation: Annotated[
        Literal["auto", "low"] | None, Field(description="Accepted and ignored")
    ] = None
    style: Annotated[
        Literal["vivid", "natural"] | None, Field(description="Accepted and ignored")
    ] = None
    complexity: Annotated[
        Literal["low", "medium", "high"] | None, Field(description="Accepted and ignored")
    ] = None
    stream: Annotated[bool | None, Field(description="Not offered: must be false")] = None
    partial_images: Annotated[int | None, Field(description="Not offered: must be 0"), INTEGER] = (
        None
    )

    @field_validator("stream", "partial_images")
    @classmethod
    def _not_offered(cls, value: object) -> object:
        if value:
            raise ValueError("is not supported; omit it to get the whole image in one response")
        return value

    @property
    def count(self) -> int:
        """The number of images."""
        return self.n or 1

    @property
    def as_url(self) -> bool:
        """Whether to return URLs instead of image data."""
        return self.response_format == "url"
