from io import BytesIO
from random import Random
from typing import Any

import pytest
from PIL import Image

from shared.errors import ImageDamaged, ImageTooLarge
from shared.image_files import is_complete_webp, make_preview, webp_canvas

CAP = 40_000_000


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    small = Image.frombytes("RGB", (8, 8), Random(1).randbytes(8 * 8 * 3))
    return small.convert(mode).resize(size)


def encoded(image: Image.Image, kind: str = "WEBP", **options: Any) -> bytes:
    image.save(out := BytesIO(), kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1344, 768), (512, 293)),
        ((768, 1344), (293, 512)),
        ((4000, 3000), (512, 384)),
        ((512, 512), (512, 512)),
        ((300, 100), (300, 100)),
        ((9000, 1), (512, 1)),
        ((1, 1), (1, 1)),
    ],
)
def test_a_preview_fits_and_is_never_enlarged(
    kind: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    preview = make_preview(encoded(noise(size), kind), max_pixels=CAP)

    assert webp_canvas(preview) == wanted
    assert is_complete_webp(preview)


@pytest.mark.parametrize(
    ("mode", "kind", "wanted"),
    [
        *((mode, "PNG", "RGB") for mode in ("1", "L", "P", "RGB")),
        *((mode, "PNG", "RGBA") for mode in ("LA", "RGBA")),
        *((mode, "JPEG", "RGB") for mode in ("L", "CMYK")),
        ("RGBA", "WEBP", "RGBA"),
    ],
)
def test_a_preview_looks_like_its_image(mode: str, kind: str, wanted: str) -> None:
    image = noise((600, 600)).convert(mode)

    with Image.open(BytesIO(make_preview(encoded(image, kind), max_pixels=CAP))) as preview:
        assert preview.mode in {wanted, "RGB"}  # an alpha that hides nothing is left out
        assert average_colors(preview) == pytest.approx(average_colors(image), abs=24)


def average_colors(image: Image.Image) -> list[int]:
    """Return the colors of a 4 by 4 version: a dithered image has the same as a smooth one."""
    return [*image.convert("RGB").resize((4, 4), Image.Resampling.BOX).tobytes()]


def test_what_is_transparent_stays_so() -> None:
    image = Image.new("RGBA", (600, 600), (200, 10, 10, 0))

    with Image.open(BytesIO(make_preview(encoded(image, "PNG"), max_pixels=CAP))) as preview:
        assert preview.convert("RGBA").getpixel((100, 100))[3] == 0  # type: ignore[index]


def test_a_preview_has_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "A secret"
    data = encoded(noise((600, 600)), "JPEG", exif=exif, comment=b"A secret")
    assert b"A secret" in data

    assert b"A secret" not in make_preview(data, max_pixels=CAP)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
def test_a_preview_is_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = Image.new("RGB", (400, 300))
    image.paste((255, 255, 255), (0, 0, 200, 300))

    preview = make_preview(encoded(image, kind, exif=exif), max_pixels=CAP)

    assert webp_canvas(preview) == (300, 400)
    with Image.open(BytesIO(preview)) as shown:
        assert [shown.convert("L").getpixel((150, at)) for at in (20, 380)] == [255, 0]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_preview_ignores_an_orientation_that_cannot_be_read() -> None:
    data = encoded(noise((600, 600)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")

    assert is_complete_webp(make_preview(data, max_pixels=CAP))


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
def test_an_image_beyond_the_limit_of_pixels_has_no_preview(kind: str) -> None:
    with pytest.raises(ImageTooLarge):
        make_preview(encoded(noise((1000, 1000)), kind), max_pixels=999_999)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_an_image_cut_short_has_no_preview(kind: str, share: float) -> None:
    data = encoded(noise((600, 600)), kind)

    with pytest.raises(ImageDamaged):
        make_preview(data[: int(len(data) * share)], max_pixels=CAP)


def test_a_gif_has_no_preview() -> None:
    with pytest.raises(ImageDamaged, match="neither WebP nor JPEG nor PNG"):
        make_preview(encoded(noise((10, 10)), "GIF"), max_pixels=CAP)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""]
)
def test_a_webp_of_another_length_is_not_complete(change: Any) -> None:
    assert not is_complete_webp(change(encoded(noise((100, 100)))))
