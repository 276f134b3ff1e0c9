"""From image messages to uint8 RGB arrays, whatever the encoding; nothing of a message is trusted before it is checked.

The common encodings are decoded here with numpy and OpenCV (see `encodings`). JPEGs are decoded by simplejpeg and not
by OpenCV, which makes a picture of a damaged one as if nothing were wrong. Both are libjpeg-turbo and give the same
pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]  # It ships no py.typed.

from rvm_model.messages.encodings import ENCODINGS, RgbArray, check_layout, decode
from rvm_model.messages.image_headers import JPEG_END, JPEG_SIGNATURE, ImageError, compressed_size
from rvm_model.messages.png_chunks import picture_chunks

__all__ = [
    "ENCODINGS",
    "MAX_EXTRA_BYTES",
    "MAX_PIXELS",
    "ImageError",
    "RgbArray",
    "check_compressed",
    "check_image",
    "compressed_to_array",
    "image_to_array",
]

MAX_PIXELS = 64_000_000
"""Largest image that is decoded unless told otherwise: four times a 16 megapixel camera's."""
MAX_EXTRA_BYTES = 16
"""Bytes too many that a JPEG may have before a restart or end marker: common webcams (Logitech C270, C910) send frames
with up to ten, and the pictures are whole."""
_EXTRA_BYTES = re.compile(r"(\d+) extraneous bytes before marker 0xd[0-79]")
"""libjpeg's warning of them."""

Others = Callable[[str], Callable[[Any], RgbArray]]
"""Gives the decoder of an encoding that is not known here, or raises ImageError where there is none."""


def _none_other(encoding: str) -> Callable[[Any], RgbArray]:
    raise ImageError(f"got encoding {encoding!r}, expected one of {', '.join(ENCODINGS)}")


def image_to_array(message: Any, *, max_pixels: int = MAX_PIXELS, others: Others = _none_other) -> RgbArray:
    """Decode a raw image.

    16-bit images are scaled from their full range to 8 bits, as cv_bridge does. Row padding and big-endian samples are
    taken care of; the last row may come without its padding, as some drivers send it. Of nv12, nv21 and nv24 `height`
    is the image's height and `step` the bytes of a luma row; the chroma rows follow the luma rows.

    Args:
        message: the image, with the fields of sensor_msgs/Image.
        max_pixels: images with more are refused.
        others: knows more encodings.

    Returns:
        uint8 RGB [height, width, 3]; for `rgb8` without padding a view of the message's data, else a new array.

    Raises:
        ImageError: the message contradicts itself, is too large, holds depth or the like instead of colours, or has an
            encoding that nothing here can decode.
    """
    check_image(message, max_pixels=max_pixels, others=others)
    if message.encoding not in ENCODINGS:
        return others(message.encoding)(message)
    pixels = decode(message)
    # Scaled after the conversion: a Bayer pattern is interpolated at full depth.
    return pixels if pixels.dtype == np.uint8 else _to_8_bits(pixels)


def check_image(message: Any, *, max_pixels: int = MAX_PIXELS, others: Others = _none_other) -> None:
    """Check what a raw image says of itself; no pixel is looked at.

    Raises:
        ImageError: it contradicts itself, is too large, or holds depth or the like instead of colours.
    """
    _check_size(message.height, message.width, max_pixels)
    check_layout(message)
    if message.encoding not in ENCODINGS:
        others(message.encoding)


def compressed_to_array(message: Any, *, max_pixels: int = MAX_PIXELS) -> RgbArray:
    """Decode a JPEG or PNG image.

    The size is read from the file's header and checked before anything is decoded, so that a small message cannot
    claim gigabytes. Transparency is dropped, 16-bit PNG is cut to its upper 8 bits, and an EXIF rotation is left
    unapplied: camera_info describes the image as it was taken.

    A damaged PNG is always noticed: it has checksums. A JPEG has none, and is refused where its data ends too early or
    too late or holds a code that means nothing. So lost pieces are nearly always noticed, and so are most long runs of
    wrong bytes, but a single wrong byte is in one case of five: the pixels after it may be wrong, and nobody can tell.
    Up to MAX_EXTRA_BYTES too many before a marker are no damage.

    Args:
        message: the image, with the fields of sensor_msgs/CompressedImage; its bytes, not its `format`, say what it is.
            Bytes after its end are left alone, and a JPEG may lack its end marker, as some UVC cameras send it.
        max_pixels: images with more are refused.

    Returns:
        uint8 RGB [height, width, 3].

    Raises:
        ImageError: neither JPEG nor PNG, cut off, too large, or damaged.
    """
    data, height, width = _checked(message, max_pixels)
    if data.startswith(JPEG_SIGNATURE):
        return _decode_jpeg(data, message.format, height, width)
    return _decode_png(data, message.format, height, width)


def check_compressed(message: Any, *, max_pixels: int = MAX_PIXELS) -> None:
    """Check what a compressed image says of itself; nothing is decoded.

    Raises:
        ImageError: neither JPEG nor PNG, too large, or cut off in its header, of a PNG anywhere.
    """
    _checked(message, max_pixels)


def _checked(message: Any, max_pixels: int) -> tuple[bytes, int, int]:
    data = bytes(message.data)
    height, width = compressed_size(data, message.format)
    _check_size(height, width, max_pixels)
    return data, height, width


def _decode_jpeg(data: bytes, label: str, height: int, width: int) -> RgbArray:
    what = f"got a damaged {label!r} image of {width}x{height}"
    # An end marker more does no harm. Where there was none, the decoder now tells whether the data before it was
    # complete.
    data += JPEG_END
    rgb = np.empty((height, width, 3), np.uint8)
    read = 0, 0
    try:
        read = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        if read == (height, width):
            simplejpeg.decode_jpeg(data, "RGB", buffer=rgb, strict=True)
    except (ValueError, KeyError) as error:  # KeyError: of a way to store colours that it does not know.
        # Strict or not, it decodes to the end before it complains, and of the first thing that was wrong.
        extra = _EXTRA_BYTES.search(str(error))
        if extra is None or int(extra[1]) > MAX_EXTRA_BYTES:
            raise ImageError(
                f"{what}: {error}; expected a complete JPEG; look for lost data between camera and node, such as a bad "
                "cable or dropped packets"
            ) from error
    if read != (height, width):
        raise ImageError(f"{what} that the decoder takes for {read[1]}x{read[0]}, expected one size")
    return rgb


def _decode_png(data: bytes, label: str, height: int, width: int) -> RgbArray:
    data = picture_chunks(data)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"got a damaged {label!r} image: {error}; expected a complete PNG") from error
    if bgr is None or bgr.shape[:2] != (height, width):
        raise ImageError(f"got a damaged {label!r} image of {width}x{height}, expected a complete PNG")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


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
