"""Images that are odd and good: they must go in, and be the pixels that were meant."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from rvm_model.messages.images import ENCODINGS, image_to_array
from rvm_ros.soak.kinds import Kind, Made, Rng, by_opencv, compressed, encoded, picture, raw, rgb8

LONG_SIDE = 4000
LARGE = 500, 600
"""Height and width of as many pixels as are taken."""


def _one_pixel(rng: Rng) -> Made:
    pixels = picture(rng, 1, 1)
    return Made(rgb8(pixels), pixels)


def _odd_sides(rng: Rng) -> Made:
    pixels = picture(rng, *(int(side) for side in 2 * rng.integers(1, 60, 2) + 1))
    return Made(rgb8(pixels), pixels)


def _line(rng: Rng) -> Made:
    pixels = picture(rng, *[(1, LONG_SIDE), (LONG_SIDE, 1), (3, LONG_SIDE)][int(rng.integers(3))])
    return Made(rgb8(pixels), pixels)


def _large(rng: Rng) -> Made:
    pixels = picture(rng, *LARGE)
    return Made(rgb8(pixels), pixels)


def _padded(rng: Rng) -> Made:
    pixels, padding = picture(rng), int(rng.integers(1, 200))
    height, width = pixels.shape[:2]
    padded = rng.integers(0, 256, (height, width * 3 + padding), np.uint8)
    padded[:, : width * 3] = pixels[..., ::-1].reshape(height, -1)
    data = padded.tobytes()
    if rng.integers(2):  # Some drivers leave out the last row's.
        data = data[:-padding]
    return Made(raw(data, height, width, width * 3 + padding, "bgr8"), pixels)


def _grey(rng: Rng) -> Made:
    pixels = picture(rng)[..., :1]
    height, width = pixels.shape[:2]
    return Made(raw(pixels.tobytes(), height, width, width, "mono8"), np.repeat(pixels, 3, axis=2))


def _sixteen_bits(rng: Rng) -> Made:
    pixels, big = picture(rng), int(rng.choice([0, 1, 255]))
    height, width = pixels.shape[:2]
    data = (pixels.astype(np.uint16) * 257).astype(">u2" if big else "<u2").tobytes()
    return Made(raw(data, height, width, width * 6, "rgb16", big_endian=big), pixels)


def _big_endian_bytes(rng: Rng) -> Made:
    pixels = picture(rng)
    message = rgb8(pixels)
    message.is_bigendian = 1  # It means nothing where a sample is a byte.
    return Made(message, pixels)


def _any_encoding(rng: Rng) -> Made:
    # What the decoders make of each encoding is held elsewhere (test_encodings); here, that it arrives.
    name = str(rng.choice(list(ENCODINGS)))
    encoding, (height, width) = ENCODINGS[name], (int(side) for side in 4 * rng.integers(1, 17, 2))
    step = width * encoding.channels * encoding.bits // 8 + 2 * int(rng.integers(0, 5))
    size = encoding.planes(height, width, step)[-1].end
    message = raw(rng.bytes(size), height, width, step, name)
    return Made(message, image_to_array(message).copy())


def _other_frame_id(message: Image | CompressedImage, image: np.ndarray, rng: Rng) -> Made:
    names = ["", "/", "a b", "\n", "'quoted'", "\x1b[31m", "中🙂", "x" * 50_000]
    # Another one each time, so that it always is a change.
    message.header.frame_id = f"{rng.choice(names)}{rng.integers(2**60)}"
    return Made(message, image)


def _raw_frame_id(rng: Rng) -> Made:
    pixels = picture(rng)
    return _other_frame_id(rgb8(pixels), pixels, rng)


RAW_ODD: tuple[Kind, ...] = (
    Kind("one pixel", _one_pixel),
    Kind("odd sides", _odd_sides),
    Kind("a line of pixels", _line),
    Kind("as many pixels as are taken", _large),
    Kind("rows with padding", _padded),
    Kind("grey", _grey),
    Kind("16 bits in either order", _sixteen_bits),
    Kind("8 bits that are called big-endian", _big_endian_bytes),
    Kind("any encoding", _any_encoding),
    Kind("raw, odd frame_id", _raw_frame_id),
)
"""Raw images that are odd and good."""


def _jpeg(
    *options: int,
    size: Callable[[Rng], tuple[int, int]] = lambda _: (48, 64),
    tail: bytes = b"",
    end: int | None = None,
) -> Callable[[Rng], Made]:
    def make(rng: Rng) -> Made:
        data = encoded(picture(rng, *size(rng)), ".jpg", *options)
        label = str(rng.choice(["jpeg", "rgb8; jpeg compressed bgr8", "png", ""]))
        return Made(compressed(data[:end] + tail, label), by_opencv(data))

    return make


def _png(make: Callable[[Rng], np.ndarray]) -> Callable[[Rng], Made]:
    def made(rng: Rng) -> Made:
        data = encoded(make(rng), ".png")
        return Made(compressed(data, "png"), by_opencv(data))

    return made


def _grey_jpeg(rng: Rng) -> Made:
    data = encoded(picture(rng)[..., 0], ".jpg")
    return Made(compressed(data), by_opencv(data))


def _transparent_png(rng: Rng) -> Made:
    pixels = picture(rng)
    data = encoded_with_alpha(pixels, rng)
    return Made(compressed(data, "png"), pixels)


def encoded_with_alpha(pixels: np.ndarray, rng: Rng) -> bytes:
    """A PNG of uint8 RGB [H, W, 3] with any transparency."""
    alpha = rng.integers(0, 256, (*pixels.shape[:2], 1), np.uint8)
    done, data = cv2.imencode(".png", np.concatenate([pixels[..., ::-1], alpha], axis=2))
    assert done, "OpenCV encodes PNG"
    return bytes(data)


def _png_with_tail(rng: Rng) -> Made:
    pixels = picture(rng)
    return Made(compressed(encoded(pixels, ".png") + rng.bytes(int(rng.integers(1, 3000))), "png"), pixels)


def _jpeg_frame_id(rng: Rng) -> Made:
    data = encoded(picture(rng), ".jpg")
    return _other_frame_id(compressed(data), by_opencv(data), rng)


COMPRESSED_ODD: tuple[Kind, ...] = (
    Kind("jpeg of one pixel", _jpeg(size=lambda _: (1, 1))),
    Kind("jpeg of odd sides", _jpeg(size=lambda rng: (int(rng.integers(1, 99)), int(rng.integers(1, 99))))),
    Kind("jpeg of a line", _jpeg(size=lambda _: (2, LONG_SIDE))),
    Kind("jpeg of as many pixels as are taken", _jpeg(size=lambda _: LARGE)),
    Kind("progressive jpeg", _jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    Kind("jpeg with restart markers", _jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
    Kind("grey jpeg", _grey_jpeg),
    Kind("jpeg without its end marker", _jpeg(end=-2)),
    Kind("jpeg with bytes after its end", _jpeg(tail=b"\x00" * 700)),
    Kind("png", _png(picture)),
    Kind("png of one pixel", _png(lambda rng: picture(rng, 1, 1))),
    Kind("png of 16 bits", _png(lambda rng: rng.integers(0, 2**16, (48, 64, 3)).astype(np.uint16))),
    Kind("png with transparency", _transparent_png),
    Kind("png with bytes after its end", _png_with_tail),
    Kind("jpeg, odd frame_id", _jpeg_frame_id),
)
"""Compressed images that are odd and good."""
