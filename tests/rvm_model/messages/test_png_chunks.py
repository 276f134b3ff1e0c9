"""A PNG's own checks: what the decoder gets is whole, and only the picture."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.png_chunks import picture_chunks


def png(shape=(12, 17, 3), dtype=np.uint8) -> bytes:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    return cv2.imencode(".png", pixels)[1].tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def names(data: bytes) -> list[bytes]:
    found, position = [], 8
    while position < len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        found.append(name)
        position += 12 + length
    return found


@pytest.mark.parametrize(
    ("shape", "dtype"), [((12, 17, 3), np.uint8), ((1, 1), np.uint8), ((33, 9, 4), np.uint8), ((5, 7, 3), np.uint16)]
)
def test_a_sound_picture_is_the_same_after_it(shape, dtype):
    data = png(shape, dtype)
    kept = picture_chunks(data)
    flags = cv2.IMREAD_UNCHANGED
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(kept, np.uint8), flags), cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    )


def test_what_is_no_part_of_the_picture_does_not_reach_the_decoder():
    data = png()
    with_text = data[:33] + chunk(b"tEXt", b"Comment\0hello") + chunk(b"iCCP", b"nonsense") + data[33:] + b"tail"
    assert set(names(picture_chunks(with_text))) == {b"IHDR", b"IDAT", b"IEND"}
    assert picture_chunks(with_text) == picture_chunks(data)


def test_an_interlaced_picture_and_one_of_a_palette_are_taken():
    palette = chunk(b"PLTE", bytes(range(12)))
    rows = zlib.compress(b"".join(b"\0" + bytes([0b00011011]) for _ in range(4)))
    header = struct.pack(">IIBBBBB", 4, 4, 2, 3, 0, 0, 0)
    indexed = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert cv2.imdecode(np.frombuffer(picture_chunks(indexed), np.uint8), cv2.IMREAD_COLOR).shape == (4, 4, 3)
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    interlaced = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    assert picture_chunks(b"\x89PNG\r\n\x1a\n" + interlaced).endswith(chunk(b"IEND", b""))
    without = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 2, 3, 0, 0, 0)) + chunk(b"IDAT", rows)
    with pytest.raises(ImageError, match="no palette"):
        picture_chunks(without + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(b"\0" * 400, "got 400 bytes of pixels, expected 624"), (b"\0" * 10_000_000, "got more bytes of pixels")],
)
def test_data_that_is_not_the_pictures_size_is_refused(rows, reason):
    data = png()
    broken = data[:33] + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=reason):
        picture_chunks(broken)


def test_every_cut_and_every_wrong_byte_of_a_picture_is_refused():
    data = png()
    for length in range(33, len(data)):
        with pytest.raises(ImageError):
            picture_chunks(data[:length])
    for position in range(33, len(data)):
        with pytest.raises(ImageError):
            picture_chunks(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
