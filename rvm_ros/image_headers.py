"""Size of a JPEG or PNG read from its header, before anything is decoded."""

from __future__ import annotations

import re
import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
_START_OF_SCAN = 0xDA
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which lie among them (ITU-T T.81, table B.1).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})


_NOT_FILL = re.compile(rb"[^\xff]")
MAX_SEGMENTS = 10_000
"""Segments before the picture's data after which a JPEG is given up: more are made to keep a reader busy."""


class ImageError(ValueError):
    """An image message that cannot be used; says what was got, what was expected and what to do."""


def compressed_size(data: bytes, label: str) -> tuple[int, int]:
    """Height and width of a complete JPEG or PNG.

    Args:
        data: the file's bytes.
        label: what the sender calls the format, for the message.

    Raises:
        ImageError: another format, or the file is cut off.
    """
    if data.startswith(PNG_SIGNATURE):
        return _png_size(data)
    if data.startswith(JPEG_SIGNATURE):
        return _jpeg_size(data)
    raise ImageError(
        f"got format {label!r} and {len(data)} bytes starting with {data[:4].hex() or 'nothing'}, expected JPEG or PNG"
        "; depth images and video streams are other topics"
    )


def _png_size(data: bytes) -> tuple[int, int]:
    if len(data) < 24 or data[12:16] != b"IHDR" or b"IEND" not in data[-64:]:
        raise ImageError(
            f"got a PNG of {len(data)} bytes that is cut off, expected it to begin with IHDR and end with IEND"
        )
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int]:
    size = None
    position = 2
    for _ in range(MAX_SEGMENTS):
        if position + 4 > len(data):
            break
        if data[position] != 0xFF:
            raise ImageError(f"got a JPEG with no marker at byte {position}, expected one; the data is damaged")
        marker = data[position + 1]
        if marker == 0xFF:  # Fill bytes may stand before a marker.
            after_fill = _NOT_FILL.search(data, position)
            position = (after_fill.start() if after_fill else len(data)) - 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _START_OF_FRAME and position + 9 <= len(data):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            size = height, width
        # libjpeg fills what is missing with grey and only warns, so the end is looked for here. An embedded preview has
        # an end marker too, but stands before the scan.
        if marker == _START_OF_SCAN:
            if size is None or data.rfind(b"\xff\xd9") <= position:
                break
            return size
        position += 2 + max(length, 2)
    raise ImageError(
        f"got a JPEG of {len(data)} bytes that is cut off, expected a size, a scan and the end marker within "
        f"{MAX_SEGMENTS} segments"
    )
