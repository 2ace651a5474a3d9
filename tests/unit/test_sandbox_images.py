import io
import zlib
from dataclasses import replace
from typing import get_args

import pytest
from PIL import Image

from sandbox.provider.bombs import gzip_of_zeros, png_of_pixels
from sandbox.provider.image_rendering import RenderedImage, size_of
from shared.model_catalog import Expected, Format
from tests.support.models import RATIOS

SMALL = RenderedImage(
    "A lighthouse at dawn", 7, size_of(Expected(ratio=16 / 9, pixels=512 * 512)), "webp", 80
)


def opened(image: RenderedImage) -> Image.Image:
    return Image.open(io.BytesIO(image.encode()))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("pixels", [1_048_576, 262_144])
def test_a_size_fits_its_ratio_and_megapixels(ratio: str, pixels: int) -> None:
    width, height = size_of(Expected(ratio=RATIOS[ratio], pixels=pixels))

    assert width % 16 == height % 16 == 0
    assert width / height == pytest.approx(RATIOS[ratio], rel=0.02)
    assert width * height == pytest.approx(pixels, rel=0.05)


@pytest.mark.parametrize("kind", get_args(Format))
def test_an_image_has_the_format_and_size_asked_for(kind: Format) -> None:
    image = opened(replace(SMALL, format=kind))

    assert image.size == (672, 384)
    assert image.format == {"webp": "WEBP", "jpg": "JPEG", "png": "PNG"}[kind]


@pytest.mark.parametrize("kind", get_args(Format))
def test_the_same_input_gives_the_same_bytes(kind: Format) -> None:
    image = replace(SMALL, format=kind)

    assert image.encode() == image.encode()


def test_another_seed_or_prompt_gives_another_image() -> None:
    images = {
        SMALL.encode(),
        replace(SMALL, seed=8).encode(),
        replace(SMALL, prompt="Another").encode(),
    }

    assert len(images) == 3


@pytest.mark.parametrize("kind", ["webp", "jpg"])
def test_quality_decides_the_weight(kind: Format) -> None:
    weights = [len(replace(SMALL, format=kind, quality=quality).encode()) for quality in (0, 100)]

    assert weights[0] < weights[1] / 2


def test_an_image_is_not_flat_unless_it_is_meant_to_be() -> None:
    assert len(opened(SMALL).convert("RGB").getcolors(maxcolors=2**24) or []) > 100
    assert opened(replace(SMALL, flat=True)).convert("RGB").getextrema() == ((0, 0),) * 3


def test_a_prompt_that_is_no_clean_text_still_gives_an_image() -> None:
    assert replace(SMALL, prompt="\ud800 \x00").encode()


@pytest.mark.parametrize("count", [1, 999_999, 1_000_000, 3_000_001])
def test_a_gzip_bomb_unpacks_to_exactly_what_it_promises(count: int) -> None:
    bomb = gzip_of_zeros(count)

    assert zlib.decompress(bomb, 31) == bytes(count)
    assert len(bomb) < 10_000


def test_a_pixel_bomb_is_a_valid_image() -> None:
    image = Image.open(io.BytesIO(png_of_pixels(5000, 4001)))

    assert image.size == (5000, 4001)
    assert image.getextrema() == (0, 0)


def test_a_pixel_bomb_of_billions_is_small() -> None:
    assert len(png_of_pixels(60_000, 60_000)) < 1_000_000
