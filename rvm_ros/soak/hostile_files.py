"""Compressed images that must be refused, and damaged ones of which the node's decoder says whether anyone can tell."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable

import numpy as np

from rvm_model.messages.images import compressed_to_array
from rvm_ros.soak.kinds import MAX_PIXELS, Kind, Made, Rng, compressed, encoded, picture

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SCAN = b"\xff\xda"
_SIZE_IN_FRAME = 5
"""Bytes from a start of frame to its height, which the width follows."""


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its right checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, stream: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose checksums are right, whatever it claims.

    Args:
        width: claimed.
        height: claimed.
        stream: content of the one IDAT chunk.
        more: chunks before it.
        depth: bits per sample.
        colour: PNG's colour type; 2 is RGB, 0 is grey, 3 is a palette.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_SIGNATURE + header + b"".join(more) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def rows(pixels: np.ndarray) -> bytes:
    """The rows of an image as a PNG's stream holds them, compressed: each after a zero for its filter."""
    flat = pixels.reshape(len(pixels), -1)
    return zlib.compress(np.insert(flat, 0, 0, axis=1).astype(np.uint8).tobytes())


def _jpeg(rng: Rng, *options: int) -> bytes:
    return encoded(picture(rng), ".jpg", *options)


def _refused(change: Callable[[Rng], bytes], label: str = "jpeg") -> Callable[[Rng], Made]:
    return lambda rng: Made(compressed(change(rng), label))


def _as_decoded(change: Callable[[Rng], bytes], label: str) -> Callable[[Rng], Made]:
    """For damage that a decoder may or may not notice: the node must do what its decoder does by itself."""

    def make(rng: Rng) -> Made:
        message = compressed(change(rng), label)
        try:
            return Made(message, compressed_to_array(message, max_pixels=MAX_PIXELS))
        except Exception:  # Whatever the decoder raises of it: the node must refuse it.
            return Made(message)

    return make


def _garbage(rng: Rng) -> bytes:
    return b"\x00" + rng.bytes(int(rng.integers(0, 5000)))


def _other_format(rng: Rng) -> bytes:
    return encoded(picture(rng), str(rng.choice([".bmp", ".webp", ".tiff", ".ppm"])))


def _long_format(rng: Rng) -> Made:
    return Made(compressed(_garbage(rng), "x" * int(rng.integers(1000, 100_000))))


def _cut_in_header(rng: Rng) -> bytes:
    data = _jpeg(rng)
    return data[: int(rng.integers(3, data.index(_SCAN)))]


def _cut_in_picture(rng: Rng) -> bytes:
    data = _jpeg(rng)
    return data[: int(rng.integers(data.index(_SCAN) + 20, len(data) - 100))]


def _hole(rng: Rng) -> bytes:
    data = _jpeg(rng)
    start = int(rng.integers(data.index(_SCAN) + 20, len(data) - 200))
    return data[:start] + data[start + int(rng.integers(1, 150)) :]


def _changed(rng: Rng) -> bytes:
    data = bytearray(_jpeg(rng))
    first = data.index(_SCAN) + 20
    for at in rng.integers(first, len(data) - 2, int(rng.integers(1, 50))):
        data[at] = int(rng.integers(256))
    return bytes(data)


def _changed_header(rng: Rng) -> bytes:
    data = bytearray(_jpeg(rng))
    for at in rng.integers(2, data.index(_SCAN), int(rng.integers(1, 10))):
        data[at] = int(rng.integers(256))
    return bytes(data)


def _claims(data: bytes, height: int, width: int) -> bytes:
    at = data.index(b"\xff\xc0") + _SIZE_IN_FRAME
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def _claims_huge(rng: Rng) -> bytes:
    return _claims(_jpeg(rng), int(rng.integers(20_000, 65_536)), 65_535)


def _claims_nothing(rng: Rng) -> bytes:
    return _claims(_jpeg(rng), *[(0, 64), (48, 0), (0, 0)][int(rng.integers(3))])


def _claims_more(rng: Rng) -> bytes:
    return _claims(_jpeg(rng), int(rng.integers(60, 500)), int(rng.integers(80, 600)))


def _many_segments(rng: Rng) -> bytes:
    data = _jpeg(rng)
    return data[:2] + b"\xff\xe5\x00\x02" * int(rng.integers(10_001, 30_000)) + data[2:]


def _fill(rng: Rng) -> bytes:
    return b"\xff\xd8" + b"\xff" * int(rng.integers(1000, 1_000_000))


def _many_scans(rng: Rng) -> bytes:
    data = encoded(picture(rng), ".jpg", *_PROGRESSIVE)
    last = data.rindex(_SCAN)
    return data[:last] + data[last:-2] * int(rng.integers(101, 300)) + b"\xff\xd9"


_PROGRESSIVE = (2, 1)
"""OpenCV's IMWRITE_JPEG_PROGRESSIVE, on."""


def _png_cut(rng: Rng) -> bytes:
    data = encoded(picture(rng), ".png")
    return data[: int(rng.integers(8, len(data) - 8))]


def _png_changed(rng: Rng) -> bytes:
    data = bytearray(encoded(picture(rng), ".png"))
    at = int(rng.integers(50, len(data) - 20))
    data[at] ^= int(rng.integers(1, 256))
    return bytes(data)


def _png_huge(rng: Rng) -> bytes:
    width, height = int(rng.choice([20_000, 2**31 - 1])), int(rng.choice([20_000, 2**31 - 1]))
    return png(width, height, rows(picture(rng)))


def _png_nothing(rng: Rng) -> bytes:
    return png(*[(0, 48), (64, 0)][int(rng.integers(2))], rows(picture(rng)))


@functools.cache
def _zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _png_bomb(_rng: Rng) -> bytes:
    # 50 kB that are 400 million pixels of one bit.
    return png(20_000, 20_000, _zeros(20_000 * 2501), depth=1, colour=0)


def _png_short(rng: Rng) -> bytes:
    return png(64, 96, rows(picture(rng)))


def _png_no_stream(rng: Rng) -> bytes:
    return png(64, 48, rng.bytes(int(rng.integers(0, 3000))))


def _png_overfull(_rng: Rng) -> bytes:
    return png(64, 48, _zeros(5_000_000))


def _png_text(rng: Rng) -> bytes:
    return png(64, 48, rows(picture(rng)), chunk(b"zTXt", b"Comment\x00\x00" + _zeros(5_000_000)))


NEITHER = "expected JPEG or PNG"
CUT = "that is cut off"
DAMAGED = "expected a complete JPEG"
DAMAGED_PNG = "expected a complete PNG"
FILES: tuple[Kind, ...] = (
    Kind("empty", _refused(lambda _: b""), NEITHER),
    Kind("garbage", _refused(_garbage), NEITHER),
    Kind("another format", _refused(_other_format), NEITHER),
    Kind("format of many letters", _long_format, NEITHER),
    Kind("jpeg cut off in its header", _refused(_cut_in_header), CUT),
    Kind("jpeg cut off in its picture", _refused(_cut_in_picture), DAMAGED),
    Kind("jpeg with a piece missing", _as_decoded(_hole, "jpeg")),
    Kind("jpeg with changed bytes", _as_decoded(_changed, "jpeg")),
    Kind("jpeg with a changed header", _as_decoded(_changed_header, "jpeg")),
    Kind("jpeg that claims to be huge", _refused(_claims_huge), "raise `max_pixels`"),
    Kind("jpeg without pixels", _refused(_claims_nothing), "expected at least one pixel"),
    Kind("jpeg that claims more than it has", _refused(_claims_more), DAMAGED),
    Kind("jpeg of many segments", _refused(_many_segments), "within 10000 segments"),
    Kind("jpeg of nothing but fill", _refused(_fill), CUT),
    Kind("jpeg of many scans", _refused(_many_scans), "made to keep a decoder busy"),
    Kind("png cut off", _refused(_png_cut, "png"), CUT),
    Kind("png with a changed byte", _refused(_png_changed, "png"), DAMAGED_PNG),
    Kind("png that claims to be huge", _refused(_png_huge, "png"), "raise `max_pixels`"),
    Kind("png without pixels", _refused(_png_nothing, "png"), "expected at least one pixel"),
    Kind("png of 50 kB and 400 million pixels", _refused(_png_bomb, "png"), "raise `max_pixels`"),
    Kind("png with too few rows", _refused(_png_short, "png"), DAMAGED_PNG),
    Kind("png whose stream is noise", _refused(_png_no_stream, "png"), DAMAGED_PNG),
    Kind("png with 5 MB for 9 kB of pixels", _as_decoded(_png_overfull, "png")),
    Kind("png with 5 MB of text", _as_decoded(_png_text, "png")),
)
"""Compressed images. Those of a kind without a text are refused or not as the decoder finds."""
