"""Turn a size in pixels into the parameters of a model. Pure."""

import math
import re
from collections.abc import Container, Mapping

from shared.model_catalog import Model, SizeRule
from shared.model_catalog.model import ratios, read_megapixels, values_of

#: The largest factor by which a ratio may differ from the closest one offered.
_RATIO_OFF = 1.125
#: Sizes from a quarter of the smallest area up to this factor above the largest are accepted.
_LARGER_BY = 2
_SMALLER_BY = 4
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")

AUTO = "auto"
#: Why a parameter is refused together with `size`.
DOUBLED = "cannot be combined with `size`: send only one of them"


def size_parameters(model: Model, rule: SizeRule, size: object) -> Mapping[str, str]:
    """Return the parameters for `WxH`, none for `auto`.

    Raise ValueError for malformed sizes, and for those that the model does not offer.
    """
    if size == AUTO:
        return {}
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if not found:
        raise ValueError("must be auto, or WIDTHxHEIGHT in pixels such as 1024x1024")
    width, height = int(found[1]), int(found[2])
    if rule.pixels is not None:
        return {rule.pixels: _offered(model, rule.pixels, found[0])}
    parameters = {}
    if rule.ratio is not None:
        parameters[rule.ratio] = _ratio(model, rule.ratio, width / height)
    if rule.megapixels is not None:
        parameters[rule.megapixels] = _megapixels(model, rule.megapixels, width * height)
    return parameters


def in_both(parameters: Mapping[str, object], members: Container[str]) -> list[str]:
    """Return the parameters of a size that were also sent by their own names."""
    return [name for name in parameters if name in members]


def _values(model: Model, parameter: str) -> tuple[str, ...]:
    return values_of(model.parameters.properties[parameter])


def _offered(model: Model, parameter: str, size: str) -> str:
    offered = _values(model, parameter)
    if size not in offered:
        raise ValueError(f"must be one of: {', '.join(dict.fromkeys((AUTO, *offered)))}")
    return size


def _ratio(model: Model, parameter: str, wanted: float) -> str:
    offered = ratios(_values(model, parameter))
    nearest = min(offered, key=lambda name: abs(math.log(offered[name] / wanted)))
    off = offered[nearest] / wanted
    if max(off, 1 / off) > _RATIO_OFF:
        raise ValueError(f"must have an aspect ratio close to one of: {', '.join(offered)}")
    return nearest


def _megapixels(model: Model, parameter: str, area: int) -> str:
    areas = {name: read_megapixels(name) for name in _values(model, parameter)}
    offered = {name: pixels for name, pixels in areas.items() if pixels}
    least, most = min(offered.values()) / _SMALLER_BY, max(offered.values()) * _LARGER_BY
    if not least <= area <= most:
        raise ValueError(
            f"must have {least:,.0f} to {most:,.0f} pixels; images have about "
            f"{' or '.join(offered)} megapixel"
        )
    return min(offered, key=lambda name: abs(math.log(offered[name] / area)))
