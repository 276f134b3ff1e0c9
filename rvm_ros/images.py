"""From image messages to uint8 RGB arrays, whatever the encoding; nothing of a message is trusted before it is checked.

The common encodings are decoded here with numpy and OpenCV. Others go to cv_bridge where it is installed: on a ROS 2
machine it is, from PyPI it cannot be. `8UC1` and `8UC3` mean mono8 and bgr8, as in cv_bridge.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, Image

from rvm_ros.image_headers import ImageError, compressed_size

RgbArray = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Largest image that is decoded unless told otherwise: four times a 16 megapixel camera's."""


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an encoding lie in a message."""

    channels: int
    """Samples per pixel as they are stored."""
    bits: int = 8
    """Bits per sample, 8 or 16."""
    to_rgb: int | None = None
    """OpenCV's conversion to RGB; None when it is RGB."""


# OpenCV names a Bayer pattern by its second row and column, ROS by its first: rggb is OpenCV's BG.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3),
    "bgr8": Encoding(3, to_rgb=cv2.COLOR_BGR2RGB),
    "8UC3": Encoding(3, to_rgb=cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(4, to_rgb=cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, to_rgb=cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, to_rgb=cv2.COLOR_GRAY2RGB),
    "8UC1": Encoding(1, to_rgb=cv2.COLOR_GRAY2RGB),
    "mono16": Encoding(1, bits=16, to_rgb=cv2.COLOR_GRAY2RGB),
    # The names up to Humble, and those since.
    "yuv422": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUYV),
    **{f"bayer_{name}8": Encoding(1, to_rgb=code) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Encoding(1, bits=16, to_rgb=code) for name, code in _BAYER.items()},
}
"""Encodings that are decoded here, by their name in sensor_msgs."""


def image_to_array(message: Image, *, max_pixels: int = MAX_PIXELS) -> RgbArray:
    """Decode a raw image.

    16-bit images are scaled from their full range to 8 bits, as cv_bridge does. Row padding and big-endian samples are
    taken care of; the last row may come without its padding, as some drivers send it.

    Args:
        message: the image.
        max_pixels: images with more are refused.

    Returns:
        uint8 RGB [height, width, 3]; for `rgb8` without padding a view of the message's data, else a new array.

    Raises:
        ImageError: the message contradicts itself, is too large, or has an encoding that nothing here can decode.
    """
    check_image(message, max_pixels=max_pixels)
    height, width, step = message.height, message.width, message.step
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _by_cv_bridge(message)
    row_bytes = _row_bytes(width, encoding)
    # A view: the last row may lack its padding, and a step may claim gigabytes that the data does not have.
    rows = np.ascontiguousarray(np.ndarray((height, row_bytes), np.uint8, memoryview(message.data), strides=(step, 1)))
    if encoding.bits == 16:
        rows = rows.view(">u2" if message.is_bigendian else "<u2").astype(np.uint16)
    pixels = rows.reshape(height, width, encoding.channels)
    if encoding.to_rgb is not None:
        try:
            pixels = np.asarray(cv2.cvtColor(pixels, encoding.to_rgb))
        except cv2.error as error:  # A Bayer image of one row, say.
            raise ImageError(
                f"got {width}x{height} {message.encoding}, which OpenCV cannot convert: {error}"
            ) from error
    # Scaled after the conversion: a Bayer pattern is interpolated at full depth.
    return pixels if pixels.dtype == np.uint8 else _to_8_bits(pixels)


def check_image(message: Image, *, max_pixels: int = MAX_PIXELS) -> None:
    """Check what a raw image says of itself; no pixel is looked at.

    Raises:
        ImageError: it contradicts itself, or is too large.
    """
    height, width = message.height, message.width
    _check_size(height, width, max_pixels)
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return  # cv_bridge may know it.
    row_bytes = _row_bytes(width, encoding)
    step, size = message.step, len(message.data)
    if step < row_bytes:
        raise ImageError(
            f"got step {step} for {width} pixels of {message.encoding}, expected at least {row_bytes} bytes; "
            "the driver must set step to the bytes of a row"
        )
    if size not in (step * height, step * (height - 1) + row_bytes):
        raise ImageError(
            f"got {size} bytes of data, expected step x height = {step} x {height} = {step * height}; "
            "the message was cut off or its size is wrong"
        )
    if encoding.channels == 2 and width % 2:
        raise ImageError(f"got width {width} with {message.encoding}, expected an even one: two pixels share a colour")


def compressed_to_array(message: CompressedImage, *, max_pixels: int = MAX_PIXELS) -> RgbArray:
    """Decode a JPEG or PNG image.

    The size is read from the file's header and checked before anything is decoded, so that a small message cannot
    claim gigabytes. Transparency is dropped, 16-bit PNG is cut to its upper 8 bits, and an EXIF rotation is left
    unapplied: camera_info describes the image as it was taken.

    Args:
        message: the image; its bytes, not its `format`, say what it is.
        max_pixels: images with more are refused.

    Returns:
        uint8 RGB [height, width, 3].

    Raises:
        ImageError: neither JPEG nor PNG, cut off, too large, or damaged.
    """
    data, height, width = _checked(message, max_pixels)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"got a damaged {message.format!r} image: {error}; expected a complete JPEG or PNG") from error
    if bgr is None or bgr.shape[:2] != (height, width):
        raise ImageError(f"got a damaged {message.format!r} image of {width}x{height}, expected a complete JPEG or PNG")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def check_compressed(message: CompressedImage, *, max_pixels: int = MAX_PIXELS) -> None:
    """Check what a compressed image says of itself; nothing is decoded.

    Raises:
        ImageError: neither JPEG nor PNG, cut off, or too large.
    """
    _checked(message, max_pixels)


def _checked(message: CompressedImage, max_pixels: int) -> tuple[bytes, int, int]:
    data = bytes(message.data)
    height, width = compressed_size(data, message.format)
    _check_size(height, width, max_pixels)
    return data, height, width


def _row_bytes(width: int, encoding: Encoding) -> int:
    return width * encoding.channels * encoding.bits // 8


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"got size {width}x{height}, expected at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"got {width}x{height} = {height * width} pixels, expected at most {max_pixels}; "
            "raise `max_pixels` if the camera is that large"
        )


def _to_8_bits(image: npt.NDArray[Any]) -> RgbArray:
    # round(x * 255 / 65535), as cv_bridge scales.
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _by_cv_bridge(message: Image) -> RgbArray:
    bridge, remedy = _cv_bridge()
    if bridge is None:
        raise ImageError(f"got encoding {message.encoding!r}, expected one of {', '.join(ENCODINGS)}; {remedy}")
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), np.uint8)
    except Exception as error:  # Not our code, and whatever it raises is about this one image.
        raise ImageError(f"got encoding {message.encoding!r}, which cv_bridge refused: {error}") from error


@functools.cache
def _cv_bridge() -> tuple[Any, str]:
    """cv_bridge's converter, or None and what to do."""
    try:
        return importlib.import_module("cv_bridge").CvBridge(), ""
    except ModuleNotFoundError as error:
        if error.name == "cv_bridge":
            return None, "or install cv_bridge, which may know it"
        return None, f"cv_bridge, which may know it, cannot be imported: {error}"
    except Exception as error:  # On numpy 2, those of older distributions fail in ways of their own.
        return None, f"cv_bridge, which may know it, cannot be imported: {error}"
