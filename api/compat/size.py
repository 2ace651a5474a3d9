"""Find the aspect ratio and megapixels closest to a size in pixels. Pure."""

import math
import re
from collections.abc import Container
from typing import NamedTuple

from shared.model_catalog import RATIOS

#: Pixels of the offered megapixels.
_AREAS = {"0.25": 512 * 512, "1": 1024 * 1024}
#: The largest factor by which a ratio may differ from the closest one offered.
_RATIO_OFF = 1.125
#: Sizes up to this factor above the largest are accepted; the smallest is 256 x 256.
_LARGER_BY = 2
_AREA_LEAST = 256 * 256
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


#: Why a parameter is refused together with `size`.
DOUBLED = "cannot be combined with `size`: send only one of them"


class Shape(NamedTuple):
    """An image shape in the models' parameters."""

    aspect_ratio: str
    megapixels: str

    def in_both(self, members: Container[str]) -> list[str]:
        """Return its parts that were also sent by their own names."""
        return [name for name in self._fields if name in members]


def shape_of(size: object) -> Shape | None:
    """Parse `WxH`; return None for `auto`. Raise ValueError for malformed or unsupported sizes."""
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
        raise ValueError(f"must have an aspect ratio close to one of: {', '.join(RATIOS)}")
    return nearest


def _megapixels(area: int) -> str:
    largest = max(_AREAS.values())
    if not _AREA_LEAST <= area <= largest * _LARGER_BY:
        raise ValueError(
            f"must have {_AREA_LEAST:,} to {largest * _LARGER_BY:,} pixels; images have about "
            "0.25 or 1 megapixel"
        )
    return min(_AREAS, key=lambda name: abs(math.log(_AREAS[name] / area)))
