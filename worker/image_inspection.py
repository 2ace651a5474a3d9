"""Inspect an image before it is stored.

The header is always read; the image is decoded only if something is suspicious, because decoding
costs more than everything else. The header of a plain WebP is read here: Pillow allocates 8 bytes a
pixel before it reads one, 1.0 ms of the 11 ms that a job costs (docs/decisions.md). A paid image is
never discarded because it differs from the request: that is a warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from shared.image_files import (
    KINDS,
    Kind,
    decode,
    is_cut,
    little_endian,
    open_image,
    refuse_too_many,
    webp_canvas,
)
from shared.model_catalog import Expected

RATIO_TOLERANCE = 0.025
SIZE_TOLERANCE = 0.15
#: WebP: the minimum size of a frame, and the frame signatures.
_SHORTEST_FRAME_BYTES = 10
_VP8L_SIGNATURE = 0x2F
_VP8_START_CODE = b"\x9d\x01\x2a"
_VP8_PROFILES = range(4)
#: Fewer bytes per pixel than any real image seen; even a flat JPEG has about 0.016.
SUSPICIOUS_BYTES_PER_PIXEL = 0.03
#: The largest difference of the values of one channel in a blank image.
FLAT_SPREAD = 2


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


def inspect(data: bytes, expected: Expected, *, max_pixels: int) -> InspectedImage:
    """Return what `data` is and how it differs from what is expected.

    Raise ImageDamaged if it is not a complete image (it may be downloaded again), ImageTooLarge
    over `max_pixels`.
    """
    canvas = webp_canvas(data)
    refuse_too_many(canvas, max_pixels)
    webp = KINDS["WEBP"]
    if _is_plain_webp(data) and not is_cut(data) and not _is_suspiciously_small(data, canvas):
        warnings = _differences(webp, canvas, expected)
        return InspectedImage(webp.content_type, webp.extension, *canvas, warnings)
    with open_image(data, max_pixels=max_pixels) as image:
        kind = KINDS[_FORMATS.get(str(image.format), str(image.format))]
        warnings = _differences(kind, image.size, expected)
        if is_cut(data) or _is_suspiciously_small(data, image.size):
            warnings += _decoded_warnings(image)
    return InspectedImage(kind.content_type, kind.extension, image.width, image.height, warnings)


def _is_plain_webp(data: bytes) -> bool:
    """Return whether this is a single frame without extensions and with a decodable header.

    Checks what libwebp checks before it decodes (RFC 6386, 9.1; the specification of lossless
    WebP).
    """
    if 0 in webp_canvas(data):
        return False
    file_length, chunk = little_endian(data[4:8]) + 8, little_endian(data[16:20])
    # the ten bytes read here are the frame's own, and not what follows the file
    if 20 + chunk + chunk % 2 != file_length or chunk < _SHORTEST_FRAME_BYTES:
        return False
    if data[12:16] == b"VP8L":
        return data[20] == _VP8L_SIGNATURE and little_endian(data[21:25]) >> 29 == 0
    tag = little_endian(data[20:23])
    is_key, profile, is_shown, first_part = not tag & 1, tag >> 1 & 7, tag >> 4 & 1, tag >> 5
    is_vp8 = data[12:16] == b"VP8 " and data[23:26] == _VP8_START_CODE
    return is_vp8 and is_key and profile in _VP8_PROFILES and bool(is_shown) and first_part < chunk


def _differences(kind: Kind, size: tuple[int, int], expected: Expected) -> tuple[str, ...]:
    width, height = size
    found = {
        "format": expected.format not in {None, kind.extension},
        "ratio": _is_off(width / height, expected.ratio, RATIO_TOLERANCE),
        "size": _is_off(width * height, expected.pixels, SIZE_TOLERANCE),
    }
    return tuple(name for name, differs in found.items() if differs)


def _is_off(found: float, wanted: float | None, tolerance: float) -> bool:
    return wanted is not None and abs(found / wanted - 1) > tolerance


def _is_suspiciously_small(data: bytes, size: tuple[int, int]) -> bool:
    return len(data) < size[0] * size[1] * SUSPICIOUS_BYTES_PER_PIXEL


def _decoded_warnings(image: Image.Image) -> tuple[str, ...]:
    bands = decode(image, "RGB").split()
    return ("flat",) if all(_spread(band) <= FLAT_SPREAD for band in bands) else ()


def _spread(band: Image.Image) -> int:
    counts = band.histogram()
    used = [value for value, count in enumerate(counts) if count]
    return used[-1] - used[0]
