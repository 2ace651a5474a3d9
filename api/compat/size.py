"""Which ratio and megapixels come nearest to a size in pixels. Pure."""

import math
import re
from collections.abc import Container
from typing import NamedTuple

from shared.model_catalog import RATIOS

#: Megapixels on offer, as the models call them, in pixels.
_AREAS = {"0.25": 512 * 512, "1": 1024 * 1024}
#: A ratio may differ from the nearest on offer by this factor.
_RATIO_OFF = 1.125
#: More pixels than are made are asked for up to this factor; fewer down to 256 x 256.
_LARGER_BY = 2
_AREA_LEAST = 256 * 256
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


#: Why a parameter that `size` decides is refused beside it.
DOUBLED = "is told by size already: send one of them"


class Shape(NamedTuple):
    """The shape of an image, in the words of the models."""

    aspect_ratio: str
    megapixels: str

    def in_both(self, members: Container[str]) -> list[str]:
        """Return which of its parts are given by their own names too."""
        return [name for name in self._fields if name in members]


def shape_of(size: object) -> Shape | None:
    """Read `WxH`; None for `auto`. Raises ValueError for what is no size, or far from all."""
    if size == "auto":
        return None
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if not found:
        raise ValueError("must be auto, or WIDTHxHEIGHT in pixels such as 1024x1024")
    width, height = int(found[1]), int(found[2])
    return Shape(_ratio(width / height), _megapixels(width * height))


def _ratio(wanted: float) -> str:
    nearest = min(RATIOS, key=lambda name: abs(math.log(RATIOS[name] / wanted)))
    off = RATIOS[nearest] / wanted
    if max(off, 1 / off) > _RATIO_OFF:
        raise ValueError(f"has a ratio far from all that are made: {', '.join(RATIOS)}")
    return nearest


def _megapixels(area: int) -> str:
    largest = max(_AREAS.values())
    if not _AREA_LEAST <= area <= largest * _LARGER_BY:
        raise ValueError(
            f"must have {_AREA_LEAST:,} to {largest * _LARGER_BY:,} pixels in all; about a quarter "
            "of a megapixel or one are made"
        )
    return min(_AREAS, key=lambda name: abs(math.log(_AREAS[name] / area)))
