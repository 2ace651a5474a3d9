"""Open image files, and make previews of them.

The files come from outside: three formats are accepted, and the pixels are counted in the header
before a decoder allocates memory for them.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ImageDamaged, ImageTooLarge

# Our limit of pixels is checked on the header, before decoding. Pillow's own would be a warning on
# stderr, and it cannot be disabled for one thread only.
Image.MAX_IMAGE_PIXELS = None

_WEBP_START, _PNG_START, _JPEG_START = b"RIFF", b"\x89PNG", b"\xff\xd8"
_PNG_END, _JPEG_END = b"IEND\xaeB`\x82", b"\xff\xd9"
#: How much of a WebP's header is read.
_WEBP_HEAD_BYTES = 30
#: The longest side of a preview, in pixels, and its WebP quality (0 to 100).
PREVIEW_SIDE = 512
_PREVIEW_QUALITY = 75


@dataclass(frozen=True, slots=True)
class Kind:
    """An accepted format and its names."""

    content_type: str
    extension: str


#: By Pillow's name.
KINDS: Mapping[str, Kind] = {
    "WEBP": Kind("image/webp", "webp"),
    "JPEG": Kind("image/jpeg", "jpg"),
    "PNG": Kind("image/png", "png"),
}
#: The format of previews.
PREVIEW = KINDS["WEBP"]


def open_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """Open an image without decoding it.

    Raise ImageDamaged for anything but the accepted formats, ImageTooLarge over `max_pixels`.
    """
    # Pillow allocates a WebP's canvas on opening
    refuse_too_many(webp_canvas(data), max_pixels)
    try:
        image = Image.open(BytesIO(data), formats=list(KINDS))
    except UnidentifiedImageError:
        raise ImageDamaged(_what_else(data)) from None
    except Exception as error:  # Pillow's parsers raise exceptions of any class
        raise ImageDamaged("The image cannot be read: it is damaged.") from error
    refuse_too_many(image.size, max_pixels)
    return image


def decode(image: Image.Image, mode: str) -> Image.Image:
    """Return the decoded image in a mode such as RGB; raise ImageDamaged."""
    try:
        image.load()
        return image if image.mode == mode else image.convert(mode)
    except Exception as error:  # as on opening
        raise ImageDamaged("The image cannot be decoded: it is cut short or damaged.") from error


def make_preview(data: bytes, *, max_pixels: int) -> bytes:
    """Return a small WebP of an image, upright and without metadata.

    Its longest side has at most PREVIEW_SIDE pixels, and never more than that of the image. Raise
    ImageDamaged, ImageTooLarge.
    """
    written = BytesIO()
    with open_image(data, max_pixels=max_pixels) as image:
        image.draft(None, (2 * PREVIEW_SIDE, 2 * PREVIEW_SIDE))  # a JPEG is decoded at that size
        small = decode(image, "RGBA" if image.has_transparency_data else "RGB")
        small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        with suppress(Exception):  # as on opening; an unreadable orientation is none
            ImageOps.exif_transpose(small, in_place=True)  # it is lost with the metadata
        small.save(written, "WEBP", quality=_PREVIEW_QUALITY)
    return written.getvalue()


def begins_as_image(data: bytes) -> bool:
    """Return whether this begins as an image of an accepted format."""
    return data.startswith((_WEBP_START, _PNG_START, _JPEG_START))


def is_cut(data: bytes) -> bool:
    """Return whether the end of such an image is missing.

    Trailing zeros, which encoders may append, are ignored.
    """
    if data.startswith(_WEBP_START):
        return len(data) < little_endian(data[4:8]) + 8
    end = data[-1024:].rstrip(b"\0")
    return not end.endswith(_JPEG_END if data.startswith(_JPEG_START) else _PNG_END)


def is_complete_webp(data: bytes) -> bool:
    """Return whether this begins as a WebP and has the length that its header states."""
    return 0 not in webp_canvas(data) and little_endian(data[4:8]) + 8 == len(data)


def webp_canvas(data: bytes) -> tuple[int, int]:
    """Return the size of a WebP; (0, 0) for anything else.

    Source: the WebP container specification and RFC 6386.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < _WEBP_HEAD_BYTES:
        return 0, 0
    match data[12:16]:
        case b"VP8X":
            return little_endian(data[24:27]) + 1, little_endian(data[27:30]) + 1
        case b"VP8L":
            bits = little_endian(data[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return little_endian(data[26:28]) & 0x3FFF, little_endian(data[28:30]) & 0x3FFF
        case _:
            return 0, 0


def little_endian(data: bytes) -> int:
    """Read an unsigned integer as WebP writes it."""
    return int.from_bytes(data, "little")


def refuse_too_many(size: tuple[int, int], max_pixels: int) -> None:
    """Raise ImageTooLarge over `max_pixels`."""
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels, above the limit of {max_pixels:,}."
        )


def _what_else(data: bytes) -> str:
    start = data[:100].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "The image host sent a web page instead of an image."
    return "The image host sent a file that is neither WebP nor JPEG nor PNG."
