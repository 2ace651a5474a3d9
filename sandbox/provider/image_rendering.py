"""Real images, rendered from a prompt and a seed: a sky, a sun and layers of hills.

The same prompt, seed, size, format and quality give the same bytes, and another seed gives another
image. One of 1 megapixel costs 20 to 40 ms of CPU as webp, nearly all of it the encoder's.
"""

import hashlib
import io
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from PIL import Image, ImageDraw

from shared.model_catalog import Expected, Format
from shared.model_catalog.model import MEGAPIXEL

Size = tuple[int, int]
Colour = tuple[int, int, int]

CONTENT_TYPES: Mapping[Format, str] = MappingProxyType(
    {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}
)

#: Width and height at 1 megapixel: multiples of 32, so that half of each is a multiple of 16, and
#: within 2% of the ratio.
SIZES: tuple[Size, ...] = (
    *((1024, 1024), (1344, 768), (768, 1344), (1248, 832), (832, 1248)),
    *((896, 1120), (1120, 896)),
)
#: The largest relative difference between the ratio of a size and the one that it stands for.
_SAME_RATIO = 0.02
#: The factors by which these sizes are multiplied.
_SCALES = (0.5, 1.0)

#: Colours of sky, horizon and hills that match.
PALETTES: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((38, 70, 128), (246, 178, 122), (52, 38, 84)),
    ((16, 62, 84), (164, 222, 206), (12, 74, 82)),
    ((92, 58, 126), (250, 198, 190), (70, 36, 92)),
    ((18, 28, 62), (118, 136, 198), (14, 20, 46)),
    ((104, 166, 214), (248, 236, 206), (58, 112, 84)),
    ((150, 60, 66), (252, 214, 148), (82, 30, 52)),
)

HILL_LAYERS = 4
HILL_POINTS = 9


def size_of(expected: Expected) -> Size:
    """Return width and height in pixels of an image: as expected, or else a square megapixel."""
    ratio, pixels = expected.ratio or 1.0, expected.pixels or MEGAPIXEL
    scale = math.sqrt(pixels / MEGAPIXEL)
    width, height = math.sqrt(MEGAPIXEL * ratio), math.sqrt(MEGAPIXEL / ratio)
    for usual in SIZES:
        if scale in _SCALES and abs(usual[0] / usual[1] / ratio - 1) < _SAME_RATIO:
            width, height = usual
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """What determines an image's bytes. `size` in pixels, `quality` 0 to 100 (png has none)."""

    prompt: str
    seed: float
    size: Size
    format: Format
    quality: int
    flat: bool = False

    def encode(self) -> bytes:
        """Render and encode it."""
        image = Image.new("RGB", self.size) if self.flat else self._draw()
        return _encode(image, self.format, self.quality)

    def _draw(self) -> Image.Image:
        digest = hashlib.sha256(f"{self.seed!r}\n{self.prompt}".encode(errors="replace")).digest()
        chance = random.Random(digest)  # noqa: S311  an image, not a secret
        above, horizon, hills = chance.choice(PALETTES)
        image = _sky(self.size, _near(above, chance), _near(horizon, chance), chance)
        _draw_sun(image, _mix(horizon, (255, 255, 255), 0.6), chance)
        _draw_hills(image, (_mix(horizon, hills, 0.35), _near(hills, chance)), chance)
        return image


def _encode(image: Image.Image, kind: Format, quality: int) -> bytes:
    out = io.BytesIO()
    if kind == "webp":
        image.save(out, "WEBP", quality=quality, method=0)
    elif kind == "jpg":
        # to Pillow, 0 means its own default
        image.save(out, "JPEG", quality=max(1, quality))
    else:
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _sky(size: Size, above: Colour, horizon: Colour, chance: random.Random) -> Image.Image:
    """Enlarge a few pixels: a gradient from top to horizon, uneven like clouds."""
    columns, rows = 5, 4
    grid = Image.new("RGB", (columns, rows))
    for row in range(rows):
        for column in range(columns):
            grid.putpixel((column, row), _near(_mix(above, horizon, row / (rows - 1)), chance))
    # smooth at half the size, then doubled: it looks the same for a tenth of the CPU
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    return grid.resize(half, Image.Resampling.BICUBIC).resize(size, Image.Resampling.NEAREST)


def _draw_sun(image: Image.Image, colour: Colour, chance: random.Random) -> None:
    width, height = image.size
    radius = min(width, height) * chance.uniform(0.06, 0.13)
    x, y = width * chance.uniform(0.15, 0.85), height * chance.uniform(0.2, 0.5)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_hills(image: Image.Image, colours: tuple[Colour, Colour], chance: random.Random) -> None:
    """Draw the hills from the far ones, in the first colour, to the near ones in the second."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for layer in range(HILL_LAYERS):
        near = layer / (HILL_LAYERS - 1)
        top = height * (0.52 + 0.32 * near)
        ridge = [
            (width * step / (HILL_POINTS - 1), top + height * chance.uniform(-0.07, 0.07))
            for step in range(HILL_POINTS)
        ]
        draw.polygon([(0, height), *ridge, (width, height)], fill=_mix(*colours, near))


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours; `share` of the second, 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _near(colour: Colour, chance: random.Random) -> Colour:
    red, green, blue = (min(255, max(0, part + chance.randint(-18, 18))) for part in colour)
    return red, green, blue
