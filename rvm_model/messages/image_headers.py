"""Size of a JPEG or PNG read from its header, before anything is decoded."""

from __future__ import annotations

import re
import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which lie among them (ITU-T T.81, table B.1).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
# A stuffed zero, and the image's start and end. libjpeg reads on right after them: a length that was read here would
# let a file show one size here and another one there.
_NOT_IN_HEADER = frozenset({0x00, 0xD8, 0xD9})
_NOT_FILL = re.compile(rb"[^\xff]")

MAX_SEGMENTS = 10_000
"""Segments before the picture's data after which a JPEG is given up: more are made to keep a reader busy."""
MAX_SCANS = 100
"""Scans after which a JPEG is given up: a decoder goes over all pixels for each, be it of 14 bytes. Ten are usual."""


class ImageError(ValueError):
    """An image message that cannot be used; says what was got, what was expected and what to do."""


def compressed_size(data: bytes, label: str) -> tuple[int, int]:
    """Height and width of a JPEG or PNG.

    Of a JPEG the header must be complete, and some of the picture's data there: whether all of it is, only decoding
    tells. A PNG must have its end; bytes after it are left alone, which some senders leave in their buffers.

    Args:
        data: the file's bytes.
        label: what the sender calls the format, for the message.

    Raises:
        ImageError: another format, or the file is cut off or damaged as far as this can be seen.
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
    if len(data) < 24 or data[12:16] != b"IHDR" or data.rfind(b"IEND") < 24:
        raise ImageError(
            f"got a PNG of {len(data)} bytes that is cut off, expected it to begin with IHDR and end with IEND"
        )
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int]:
    size = None
    components = 0
    progressive = False
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
        if marker in _NOT_IN_HEADER:
            raise ImageError(
                f"got a JPEG with marker {marker:02x} at byte {position}, expected a segment of its header; "
                "the data is damaged"
            )
        after = position + 2 + max(int.from_bytes(data[position + 2 : position + 4], "big"), 2)
        if marker in _START_OF_FRAME and position + 10 <= len(data):
            height, width, components = struct.unpack(">HHB", data[position + 5 : position + 10])
            size = height, width
            progressive = marker in _PROGRESSIVE
        if marker == _START_OF_SCAN:
            if size is None or after >= len(data):
                break
            if progressive or data[position + 4] < components:  # Not all of the picture is in this scan.
                _check_scans(data, position)
            return size
        position = after
    raise ImageError(
        f"got a JPEG of {len(data)} bytes that is cut off, expected a size and a scan within {MAX_SEGMENTS} segments"
    )


def _check_scans(data: bytes, first: int) -> None:
    # The two bytes of a marker do not occur in a scan's data, where a zero is stuffed after every FF.
    scans = data.count(bytes([0xFF, _START_OF_SCAN]), first)
    if scans > MAX_SCANS:
        raise ImageError(
            f"got a JPEG of {scans} scans, expected at most {MAX_SCANS}; it is made to keep a decoder busy"
        )
