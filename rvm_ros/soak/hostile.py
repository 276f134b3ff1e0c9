"""Raw images that must be refused, and messages that were damaged on the wire."""

from __future__ import annotations

import struct
from collections.abc import Callable

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from rvm_ros.soak.kinds import GOOD_SIZE, MAX_PIXELS, Kind, Made, Rng, compressed, encoded, picture, raw, rgb8

HEIGHT, WIDTH = GOOD_SIZE
ROW = WIDTH * 3
LARGEST = 2**32 - 1
WRONG_STEP = "the driver must set step to the bytes of a row"
WRONG_DATA = "the message was cut off or its size is wrong"

NO_COLOURS = ("16UC1", "32FC1", "32FC24", "64FC3", "8SC3", "16SC1", "32SC4")
"""Depth and the like."""
NO_ENCODINGS = (
    "",
    "rgb",
    "RGB8",
    "rgb8 ",
    "jpeg",
    "yuv420",
    "rgb10",
    "bayer_rgbg8",
    "h264",
    "\x00",
    "../../etc/passwd",
)


def _data(rng: Rng, size: int = HEIGHT * ROW) -> bytes:
    return rng.bytes(size)


def _step_too_small(rng: Rng) -> Made:
    return Made(raw(_data(rng), HEIGHT, WIDTH, int(rng.integers(0, ROW)), "rgb8"))


def _step_too_large(rng: Rng) -> Made:
    step = int(rng.choice([ROW + 1, 2 * ROW, 2**16, 2**31, LARGEST]))
    return Made(raw(_data(rng), HEIGHT, WIDTH, step, "rgb8"))


def _short(rng: Rng) -> Made:
    return Made(raw(_data(rng, int(rng.integers(1, HEIGHT * ROW))), HEIGHT, WIDTH, ROW, "rgb8"))


def _long(rng: Rng) -> Made:
    return Made(raw(_data(rng, HEIGHT * ROW + int(rng.integers(1, 100_000))), HEIGHT, WIDTH, ROW, "rgb8"))


def _no_data(rng: Rng) -> Made:
    return Made(raw(b"", HEIGHT, WIDTH, ROW, str(rng.choice(["rgb8", "mono8", "nv12", "bayer_rggb8"]))))


def _no_size(rng: Rng) -> Made:
    height, width = [(0, WIDTH), (HEIGHT, 0), (0, 0)][int(rng.integers(3))]
    return Made(raw(_data(rng), height, width, width * 3, "rgb8"))


def _huge_size(rng: Rng) -> Made:
    sides = [1, 65_535, 65_536, 2**31, LARGEST]
    height, width = int(rng.choice(sides[1:])), int(rng.choice(sides))
    if height * width <= MAX_PIXELS:
        width = LARGEST
    return Made(raw(_data(rng), height, width, int(rng.choice([0, ROW, LARGEST])), "rgb8"))


def _unknown_encoding(rng: Rng) -> Made:
    return Made(raw(_data(rng), HEIGHT, WIDTH, ROW, str(rng.choice(NO_ENCODINGS))))


def _odd_encoding(rng: Rng) -> Made:
    # Quotes, ends of lines, terminal codes, long ones: all goes into a line of the log.
    letters = list("'\"\n\r\x1b[31m%s{}\\ä中🙂")
    return Made(raw(_data(rng), HEIGHT, WIDTH, ROW, "".join(rng.choice(letters, int(rng.integers(1, 30))))))


def _long_encoding(rng: Rng) -> Made:
    return Made(raw(_data(rng), HEIGHT, WIDTH, ROW, "x" * int(rng.integers(1000, 100_000))))


def _no_colours(rng: Rng) -> Made:
    return Made(raw(_data(rng), HEIGHT, WIDTH, ROW, str(rng.choice(NO_COLOURS))))


def _odd_width(rng: Rng) -> Made:
    return Made(
        raw(_data(rng), HEIGHT, WIDTH - 1, WIDTH * 2, str(rng.choice(["yuv422", "yuv422_yuy2", "uyvy", "nv12"])))
    )


def _odd_height(rng: Rng) -> Made:
    return Made(
        raw(_data(rng, (HEIGHT - 1) * WIDTH * 3 // 2), HEIGHT - 1, WIDTH, WIDTH, str(rng.choice(["nv12", "nv21"])))
    )


def _small_bayer(rng: Rng) -> Made:
    return Made(raw(_data(rng, 4), 2, 2, 2, str(rng.choice(["bayer_rggb8", "bayer_gbrg8"]))))


def _half_the_bits(rng: Rng) -> Made:
    name, channels = [("rgb16", 3), ("mono16", 1), ("bgra16", 4), ("bayer_grbg16", 1)][int(rng.integers(4))]
    return Made(raw(_data(rng, HEIGHT * WIDTH * channels), HEIGHT, WIDTH, WIDTH * channels, name))


def _luma_without_chroma(rng: Rng) -> Made:
    return Made(raw(_data(rng, HEIGHT * WIDTH), HEIGHT, WIDTH, WIDTH, str(rng.choice(["nv12", "nv21", "nv24"]))))


def _negative_size(rng: Rng) -> Made:
    # What a driver that computes with signed numbers sends.
    return Made(raw(_data(rng), LARGEST - int(rng.integers(0, 100)), WIDTH, ROW, "rgb8"))


RAW: tuple[Kind, ...] = (
    Kind("step smaller than a row", _step_too_small, WRONG_STEP),
    Kind("step beyond the data", _step_too_large, WRONG_DATA),
    Kind("data too short", _short, WRONG_DATA),
    Kind("data too long", _long, WRONG_DATA),
    Kind("no data", _no_data, WRONG_DATA),
    Kind("no pixels", _no_size, "expected at least one pixel"),
    Kind("huge size", _huge_size, "raise `max_pixels`"),
    Kind("negative size", _negative_size, "raise `max_pixels`"),
    Kind("unknown encoding", _unknown_encoding, "got encoding"),
    Kind("encoding with quotes and control characters", _odd_encoding, "got encoding"),
    Kind("encoding of many letters", _long_encoding, "got encoding"),
    Kind("depth instead of colours", _no_colours, "numbers such as depth"),
    Kind("odd width of yuv", _odd_width, "two pixels share a colour"),
    Kind("odd height of nv12", _odd_height, "two rows share their colours"),
    Kind("Bayer pattern of 2x2", _small_bayer, "a smaller piece of the pattern"),
    Kind("16 bits claimed, 8 sent", _half_the_bits, WRONG_STEP),
    Kind("luma without chroma", _luma_without_chroma, WRONG_DATA),
)
"""Raw images that must be refused."""


def _cut(message: bytes, rng: Rng) -> bytes:
    # In whole words, for Fast DDS fills up the last one: half a length with zeros behind is another length. And not to
    # nothing: a reliable reader waits for an empty message until it has left the sender's history, as DDS does.
    return message[: 4 * int(rng.integers(1, len(message) // 4 - 1))]


def _string_beyond(message: bytes, rng: Rng) -> bytes:
    # After the four bytes that name the representation come the stamp and the length of frame_id.
    length = int(rng.choice([len(message), 2**31 - 1, 2**31, LARGEST]))
    return message[:12] + struct.pack("<I", length) + message[16:]


def _data_beyond(message: bytes, rng: Rng, size: int) -> bytes:
    at = message.rindex(struct.pack("<I", size), 0, len(message) - size)
    length = int(rng.choice([size + 4, 2**31 - 1, 2**31, LARGEST - 3, LARGEST]))
    return message[:at] + struct.pack("<I", length) + message[at + 4 :]


def _unknown_representation(message: bytes, rng: Rng) -> bytes:
    return bytes.fromhex(str(rng.choice(["00000000", "ffffffff", "000a0000", "12345678"]))) + message[4:]


def _not_utf8(message: bytes, _rng: Rng) -> bytes:
    return message.replace(b"rgb8", b"\xff\xfe\x80\x81", 1)


def _less_data(message: bytes, rng: Rng) -> bytes:
    at = message.rindex(struct.pack("<I", HEIGHT * ROW), 0, len(message) - HEIGHT * ROW)
    return message[:at] + struct.pack("<I", int(rng.integers(0, HEIGHT * ROW))) + message[at + 4 :]


def _on_the_wire(
    make: Callable[[Rng], Image | CompressedImage], damage: Callable[[bytes, Rng], bytes]
) -> Callable[[Rng], Made]:
    return lambda rng: Made(damage(bytes(serialize_message(make(rng))), rng))


def _good_raw(rng: Rng) -> Image:
    return rgb8(picture(rng))


def _good_jpeg(rng: Rng) -> CompressedImage:
    return compressed(encoded(picture(rng), ".jpg"))


def _jpeg_beyond(rng: Rng) -> Made:
    message = _good_jpeg(rng)
    return Made(_data_beyond(bytes(serialize_message(message)), rng, len(message.data)))


RAW_WIRE: tuple[Kind, ...] = (
    Kind("wire: raw cut off", _on_the_wire(_good_raw, _cut), readable=False),
    Kind("wire: raw, string beyond the message", _on_the_wire(_good_raw, _string_beyond), readable=False),
    Kind(
        "wire: raw, data beyond the message",
        _on_the_wire(_good_raw, lambda message, rng: _data_beyond(message, rng, HEIGHT * ROW)),
        readable=False,
    ),
    Kind("wire: raw, unknown representation", _on_the_wire(_good_raw, _unknown_representation), readable=False),
    Kind("wire: encoding is no UTF-8", _on_the_wire(_good_raw, _not_utf8), "got encoding"),
    Kind("wire: less data than was sent", _on_the_wire(_good_raw, _less_data), WRONG_DATA),
)
"""Raw images that are damaged after they were serialized."""

COMPRESSED_WIRE: tuple[Kind, ...] = (
    Kind("wire: jpeg cut off", _on_the_wire(_good_jpeg, _cut), readable=False),
    Kind("wire: jpeg, string beyond the message", _on_the_wire(_good_jpeg, _string_beyond), readable=False),
    Kind("wire: jpeg, data beyond the message", _jpeg_beyond, readable=False),
    Kind("wire: jpeg, unknown representation", _on_the_wire(_good_jpeg, _unknown_representation), readable=False),
)
"""Compressed images that are damaged after they were serialized."""
