"""A PNG's own checks, made before a decoder sees it.

libpng, which decodes, tells of each damage and each oddity on the process's stderr: at every frame, without the
camera's name, and past the log. So it is given only what it has nothing to say of.
"""

from __future__ import annotations

import struct
import zlib

from rvm_model.messages.image_headers import MAX_SEGMENTS, PNG_SIGNATURE, ImageError

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits of a sample that each colour type may have."""
_PALETTE = 3
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and distances, of the passes of an interlaced picture."""


def picture_chunks(data: bytes) -> bytes:
    """A PNG of those chunks alone that make its colours, after their checksums and the size of the picture's data.

    Args:
        data: the file, which begins with a PNG's signature and a whole IHDR.

    Raises:
        ImageError: it is damaged, incomplete, or holds more than its picture.
    """
    expected = _inflated_size(data)
    inflater, size, palette = zlib.decompressobj(), 0, False
    kept, position = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    for _ in range(MAX_SEGMENTS):
        length, name = struct.unpack_from(">I4s", data, position) if position + 12 <= len(data) else (len(data), b"")
        end = position + 12 + length
        if end > len(data):
            break
        if name in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise _damaged(f"the checksum of {name.decode()} at byte {position} is wrong")
            kept.append(data[position:end])
        if name == b"PLTE":
            palette = 0 < length <= 768 and length % 3 == 0
        if name == b"IDAT" and size <= expected:
            try:
                size += len(inflater.decompress(data[position + 8 : end - 4], expected + 1 - size))
            except zlib.error as error:
                raise _damaged(f"its data cannot be inflated ({error})") from error
        if name == b"IEND":
            if size != expected or not inflater.eof:
                more = "more" if size > expected else str(size)
                raise _damaged(f"got {more} bytes of pixels, expected {expected}")
            if data[25] == _PALETTE and not palette:
                raise _damaged("it has no palette, or one of no use")
            return b"".join(kept)
        position = end
    raise _damaged(f"no end within {MAX_SEGMENTS} chunks")


def _inflated_size(data: bytes) -> int:
    """Bytes of the rows of a picture, each after one for its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth not in _DEPTHS.get(colour, ()) or data[26:28] != b"\0\0" or interlaced > 1:
        raise _damaged(f"got {depth} bits of colour type {colour}, which no PNG has")
    bits = depth * _SAMPLES[colour]
    size = 0
    for row, column, down, right in _PASSES if interlaced else ((0, 0, 1, 1),):
        rows, columns = -((row - height) // down), -((column - width) // right)
        size += rows * (1 + -(-columns * bits // 8)) if rows > 0 and columns > 0 else 0
    return size


def _damaged(why: str) -> ImageError:
    return ImageError(f"got a damaged PNG: {why}; expected a complete PNG")
