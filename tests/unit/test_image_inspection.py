import random
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from shared.errors import ImageDamaged, ImageTooLarge
from shared.model_catalog import NOTHING_EXPECTED, Expected, Format
from worker.image_inspection import inspect

ASKED = Expected(format="webp", ratio=1, pixels=512 * 512)
CAP = 40_000_000
FORMATS: dict[Format, str] = {"webp": "WEBP", "jpg": "JPEG", "png": "PNG"}


def noise(size: tuple[int, int]) -> Image.Image:
    seeded = random.Random(1)
    return Image.frombytes("RGB", size, seeded.randbytes(size[0] * size[1] * 3))


def encoded(image: Image.Image, extension: Format, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, FORMATS[extension], **options)
    return out.getvalue()


@pytest.mark.parametrize("extension", FORMATS)
def test_an_image_as_asked_has_no_warnings(extension: Format) -> None:
    data = encoded(noise((512, 512)), extension)

    image = inspect(data, replace(ASKED, format=extension), max_pixels=CAP)

    assert (image.extension, image.width, image.height) == (extension, 512, 512)
    assert image.content_type == f"image/{'jpeg' if extension == 'jpg' else extension}"
    assert image.warnings == ()


@pytest.mark.parametrize(
    ("size", "extension", "warnings"),
    [
        ((512, 512), "png", ("format",)),
        ((680, 384), "webp", ("ratio",)),
        ((1024, 1024), "webp", ("size",)),
        ((300, 100), "jpg", ("format", "ratio", "size")),
        ((512, 504), "webp", ()),
    ],
)
def test_what_differs_from_what_was_asked_is_a_warning(
    size: tuple[int, int], extension: Format, warnings: tuple[str, ...]
) -> None:
    assert inspect(encoded(noise(size), extension), ASKED, max_pixels=CAP).warnings == warnings


@pytest.mark.parametrize("extension", FORMATS)
def test_an_image_of_one_colour_is_flat(extension: Format) -> None:
    data = encoded(Image.new("RGB", (512, 512), (9, 9, 9)), extension)

    image = inspect(data, replace(ASKED, format=extension), max_pixels=CAP)

    assert image.warnings == ("flat",)


def test_an_image_with_little_in_it_is_not_flat() -> None:
    image = Image.new("RGB", (512, 512), (9, 9, 9))
    image.paste((200, 10, 10), (100, 100, 200, 200))

    assert inspect(encoded(image, "webp"), ASKED, max_pixels=CAP).warnings == ()


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_an_image_cut_short_is_fetched_again(extension: Format, share: float) -> None:
    data = encoded(noise((512, 512)), extension)

    with pytest.raises(ImageDamaged):
        inspect(data[: int(len(data) * share)], ASKED, max_pixels=CAP)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><p>no",
        b"<?xml version='1.0'?><Error/>",
        b"GIF89a" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(4),
        b"RIFF\x40\0\0\0WEBPVP8X" + bytes(60),
        b"\xff\xd8\xff" + bytes(200),
    ],
    ids=["empty", "html", "xml", "gif", "png", "short webp", "odd webp", "jpeg"],
)
def test_what_is_no_image_is_fetched_again(data: bytes) -> None:
    with pytest.raises(ImageDamaged):
        inspect(data, ASKED, max_pixels=CAP)


@pytest.mark.parametrize("extension", FORMATS)
def test_too_many_pixels_are_refused_by_the_header(extension: Format) -> None:
    data = encoded(Image.new("L", (3000, 3000)), extension)

    with pytest.raises(ImageTooLarge):
        inspect(data, ASKED, max_pixels=8_999_999)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}])
def test_the_canvas_of_a_bomb_is_refused_before_the_decoder_sees_it(
    options: dict[str, Any],
) -> None:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "webp", **options))
    start = {b"VP8X": 24, b"VP8L": 21, b"VP8 ": 26}[bytes(data[12:16])]
    data[start : start + 4] = b"\xff\xff\xff\xff"

    with pytest.raises(ImageTooLarge):
        inspect(bytes(data), ASKED, max_pixels=CAP)


def test_a_png_without_its_last_chunk_that_decodes_is_kept() -> None:
    data = encoded(noise((512, 512)), "png")[:-12]

    assert inspect(data, replace(ASKED, format="png"), max_pixels=CAP).width == 512


@pytest.mark.parametrize("options", [{}, {"quality": 5}, {"lossless": True}, {"exif": b"Exif\0\0"}])
def test_a_webp_is_what_pillow_says_it_is(options: dict[str, Any]) -> None:
    for size in ((512, 512), (1344, 768), (63, 1000), (1, 1)):
        data = encoded(noise(size), "webp", **options)
        with Image.open(BytesIO(data)) as opened:
            assert opened.size == size

        image = inspect(data, NOTHING_EXPECTED, max_pixels=CAP)

        assert (image.extension, image.width, image.height) == ("webp", *size)


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
@pytest.mark.parametrize("at", [16, 19, 20, 22, 23])
def test_a_webp_with_a_damaged_head_is_no_better_than_pillow_finds_it(
    options: dict[str, Any], at: int
) -> None:
    data = bytearray(encoded(noise((512, 512)), "webp", **options))
    for value in range(256):
        data[at] = value
        try:
            with Image.open(BytesIO(data)) as opened:
                size: tuple[int, int] | None = opened.size
        except Exception:  # noqa: BLE001  of whatever class Pillow raises
            size = None
        try:
            image = inspect(bytes(data), NOTHING_EXPECTED, max_pixels=CAP)
        except (ImageDamaged, ImageTooLarge):
            continue
        assert size == (image.width, image.height), value


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_webp_whose_size_stands_outside_of_its_frame_is_fetched_again(
    options: dict[str, Any], length: int
) -> None:
    data = bytearray(encoded(Image.new("RGB", (1, 1)), "webp", **options))
    data[4:8] = (12 + length + length % 2).to_bytes(4, "little")
    data[16:20] = length.to_bytes(4, "little")
    if data[12:16] == b"VP8 ":
        data[20:23] = b"\x10\0\0"  # shown, and with a first part of nothing

    with pytest.raises(ImageDamaged):
        inspect(bytes(data), NOTHING_EXPECTED, max_pixels=CAP)


def test_a_jpeg_with_several_frames_is_a_jpeg() -> None:
    written = BytesIO()
    frames = [noise((512, 512)), noise((512, 512))]
    frames[0].save(written, "MPO", save_all=True, append_images=frames[1:])

    found = inspect(written.getvalue(), ASKED, max_pixels=CAP)

    assert (found.content_type, found.width) == ("image/jpeg", 512)
