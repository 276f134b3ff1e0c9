"""From arrays to image messages.

A message's data is filled through an array.array: assigning bytes or a list is checked element by element on some
distributions, which costs up to hundreds of milliseconds an image.
"""

from __future__ import annotations

import array
import sys

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Header

_SAMPLES = {
    "mono8": (1, np.dtype(np.uint8)),
    "rgb8": (3, np.dtype(np.uint8)),
    "16UC1": (1, np.dtype(np.uint16)),
}
"""Encodings that the nodes send: samples per pixel and their type."""


def array_to_image(pixels: npt.NDArray[np.generic], header: Header, encoding: str) -> Image:
    """Wrap an image.

    Args:
        pixels: [H, W] for mono8 (uint8) and 16UC1 (uint16), [H, W, 3] uint8 for rgb8.
        header: copied from the input that the image comes from.
        encoding: one of mono8, rgb8, 16UC1.

    Raises:
        ValueError: the array does not have the encoding's shape and type.
    """
    channels, dtype = _SAMPLES[encoding]
    shape = (*pixels.shape, 1) if pixels.ndim == 2 else pixels.shape
    if len(shape) != 3 or shape[2] != channels or pixels.dtype != dtype:
        raise ValueError(
            f"{encoding}: got {pixels.dtype} {pixels.shape}, expected {dtype} with {channels} samples a pixel"
        )
    return _message(pixels, header, encoding)


def features_to_msg(features: npt.NDArray[np.float32], header: Header) -> Image:
    """Wrap a feature map [h, w, D] as an Image of encoding `32FC<D>`, rows are rows of patches.

    Raises:
        ValueError: not float32 [h, w, D].
    """
    if features.ndim != 3 or features.dtype != np.float32:
        raise ValueError(f"features: got {features.dtype} {features.shape}, expected float32 [h, w, D]")
    return _message(features, header, f"32FC{features.shape[2]}")


def fill(message: Image, pixels: npt.NDArray[np.generic]) -> None:
    """Put pixels into a message, in place where its data has the size already."""
    flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    if len(message.data) == flat.nbytes:
        np.frombuffer(message.data, np.uint8)[:] = flat
    else:
        data = array.array("B")
        data.frombytes(flat.data)
        message.data = data


def _message(pixels: npt.NDArray[np.generic], header: Header, encoding: str) -> Image:
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.nbytes // pixels.shape[0]
    message.is_bigendian = int(sys.byteorder == "big")
    fill(message, pixels)
    return message
