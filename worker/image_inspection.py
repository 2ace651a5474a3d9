"""Inspect an image before it is stored.

The header is always read; the image is decoded only if something is suspicious, because decoding
costs more than everything else. The header of a plain WebP is read here: Pillow allocates 8 bytes a
pixel before it reads one, 1.0 ms of the 11 ms that a job costs (docs/decisions.md). A paid image is
never discarded because it differs from the request: that is a warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError

from shared.errors import ImageDamaged, ImageTooLarge
from shared.model_catalog import RATIOS

# Our limit of pixels is checked on the header, before decoding. Pillow's own would be a warning on
# stderr, and it cannot be disabled for one thread only.
Image.MAX_IMAGE_PIXELS = None

RATIO_TOLERANCE = 0.025
SIZE_TOLERANCE = 0.15
MEGAPIXEL = 1024 * 1024
#: WebP: how much of its header is read, the minimum size of a frame, and the frame signatures.
_WEBP_HEAD_BYTES = 30
_SHORTEST_FRAME_BYTES = 10
_VP8L_SIGNATURE = 0x2F
_VP8_START_CODE = b"\x9d\x01\x2a"
_VP8_PROFILES = range(4)
#: Fewer bytes per pixel than any real image seen; even a flat JPEG has about 0.016.
SUSPICIOUS_BYTES_PER_PIXEL = 0.03
#: The largest difference of the values of one channel in a blank image.
FLAT_SPREAD = 2


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
#: Pillow has its own name for a JPEG with several frames (MPO).
_FORMATS: Mapping[str, str] = {"MPO": "JPEG"}


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """What an image really is; `warnings` are of `format`, `ratio`, `size`, `flat`."""

    content_type: str
    extension: str
    width: int
    height: int
    warnings: tuple[str, ...] = ()


def inspect(data: bytes, model_input: Mapping[str, Any], *, max_pixels: int) -> InspectedImage:
    """Return what `data` is and how it differs from `model_input`.

    Raise ImageDamaged if it is not a complete image (it may be downloaded again), ImageTooLarge
    over `max_pixels`.
    """
    canvas = _webp_canvas(data)
    _refuse_too_many(canvas, max_pixels)
    webp = KINDS["WEBP"]
    if (
        _is_plain_webp(data)
        and not _is_cut(data, webp)
        and not _is_suspiciously_small(data, canvas)
    ):
        warnings = _differences(webp, canvas, model_input)
        return InspectedImage(webp.content_type, webp.extension, *canvas, warnings)
    with _opened(data) as image:
        _refuse_too_many(image.size, max_pixels)
        kind = KINDS[_FORMATS.get(str(image.format), str(image.format))]
        warnings = _differences(kind, image.size, model_input)
        if _is_cut(data, kind) or _is_suspiciously_small(data, image.size):
            warnings += _decoded_warnings(image)
    return InspectedImage(kind.content_type, kind.extension, image.width, image.height, warnings)


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=list(KINDS))
    except UnidentifiedImageError:
        raise ImageDamaged(_what_else(data)) from None
    except Exception as error:  # Pillow's parsers raise exceptions of any class
        raise ImageDamaged("The image cannot be read: it is damaged.") from error


def _what_else(data: bytes) -> str:
    start = data[:100].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "A web page came in place of the image."
    return "What came is neither WebP nor JPEG nor PNG."


def _refuse_too_many(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(f"The image has {width} x {height} pixels, over {max_pixels:,}.")


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Return the size of a WebP; (0, 0) for anything else.

    Source: the WebP container specification and RFC 6386.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < _WEBP_HEAD_BYTES:
        return 0, 0
    match data[12:16]:
        case b"VP8X":
            return _little(data[24:27]) + 1, _little(data[27:30]) + 1
        case b"VP8L":
            bits = _little(data[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
        case _:
            return 0, 0


def _is_plain_webp(data: bytes) -> bool:
    """Return whether this is a single frame without extensions and with a decodable header.

    Checks what libwebp checks before it decodes (RFC 6386, 9.1; the specification of lossless
    WebP).
    """
    if 0 in _webp_canvas(data):
        return False
    file_length, chunk = _little(data[4:8]) + 8, _little(data[16:20])
    # the ten bytes read here are the frame's own, and not what follows the file
    if 20 + chunk + chunk % 2 != file_length or chunk < _SHORTEST_FRAME_BYTES:
        return False
    if data[12:16] == b"VP8L":
        return data[20] == _VP8L_SIGNATURE and _little(data[21:25]) >> 29 == 0
    tag = _little(data[20:23])
    is_key, profile, is_shown, first_part = not tag & 1, tag >> 1 & 7, tag >> 4 & 1, tag >> 5
    is_vp8 = data[12:16] == b"VP8 " and data[23:26] == _VP8_START_CODE
    return is_vp8 and is_key and profile in _VP8_PROFILES and bool(is_shown) and first_part < chunk


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _differences(
    kind: Kind, size: tuple[int, int], model_input: Mapping[str, Any]
) -> tuple[str, ...]:
    width, height = size
    found = {
        "format": model_input.get("output_format", kind.extension) != kind.extension,
        "ratio": _is_off(
            width / height, RATIOS.get(model_input.get("aspect_ratio", "")), RATIO_TOLERANCE
        ),
        "size": _is_off(width * height, _pixels(model_input.get("megapixels")), SIZE_TOLERANCE),
    }
    return tuple(name for name, differs in found.items() if differs)


def _pixels(megapixels: str | None) -> float | None:
    return float(megapixels) * MEGAPIXEL if megapixels else None


def _is_off(found: float, wanted: float | None, tolerance: float) -> bool:
    return wanted is not None and abs(found / wanted - 1) > tolerance


def _is_cut(data: bytes, kind: Kind) -> bool:
    """Return whether the end is missing; trailing zeros, which encoders may append, are ignored."""
    if kind.extension == "webp":
        return len(data) < _little(data[4:8]) + 8
    end = data[-1024:].rstrip(b"\0")
    return not end.endswith(b"\xff\xd9" if kind.extension == "jpg" else b"IEND\xaeB`\x82")


def _is_suspiciously_small(data: bytes, size: tuple[int, int]) -> bool:
    return len(data) < size[0] * size[1] * SUSPICIOUS_BYTES_PER_PIXEL


def _decoded_warnings(image: Image.Image) -> tuple[str, ...]:
    try:
        bands = image.convert("RGB").split()
    except Exception as error:  # as on opening
        raise ImageDamaged("The image cannot be decoded: it is cut short or damaged.") from error
    return ("flat",) if all(_spread(band) <= FLAT_SPREAD for band in bands) else ()


def _spread(band: Image.Image) -> int:
    counts = band.histogram()
    used = [value for value, count in enumerate(counts) if count]
    return used[-1] - used[0]
