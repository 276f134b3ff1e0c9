"""How the pixels of a `sensor_msgs/Image` lie in its data, by the names of sensor_msgs/image_encodings.hpp.

YUV is taken for BT.601 in studio range (Y 16 to 235, U and V 16 to 240), as OpenCV and cv_bridge take it: a message
does not say which it is. `8UC1`, `8UC3` and `8UC4` are OpenCV's types, which name no colours; they are taken for mono8,
bgr8 and bgra8, which is OpenCV's order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rvm_model.messages.image_headers import ImageError

RgbArray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """Rows of bytes at equal distances in a message's data."""

    start: int
    """Byte that the first row begins at."""
    rows: int
    row_bytes: int
    """Bytes of a row that hold pixels."""
    stride: int
    """Bytes from one row to the next."""

    @property
    def end(self) -> int:
        """Byte after the last row with its padding."""
        return self.start + self.rows * self.stride

    @property
    def end_without_padding(self) -> int:
        """Byte after the last row without its padding."""
        return self.end - self.stride + self.row_bytes

    def view(self, data: Any) -> npt.NDArray[np.uint8]:
        """The rows, uint8 [rows, row_bytes], as a view: a stride may claim gigabytes that the data does not have."""
        return np.ndarray(
            (self.rows, self.row_bytes), np.uint8, memoryview(data), offset=self.start, strides=(self.stride, 1)
        )


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an encoding lie in a message."""

    channels: int
    """Samples per pixel as they are stored; of the first plane where there are two."""
    bits: int = 8
    """Bits per sample, 8 or 16."""
    to_rgb: int | None = None
    """OpenCV's conversion to RGB; None when it is RGB, and for nv24, for which OpenCV has none."""
    chroma: int | None = None
    """Columns and rows that share one U and V, where these follow the luma as a plane of pairs; None for one plane."""
    smallest: int = 1
    """Fewest columns and rows: of a Bayer pattern smaller than 3 x 3, OpenCV makes a black image."""

    @property
    def columns_in_step(self) -> int:
        """Columns that come only together, because they share a colour."""
        return self.chroma or (2 if self.channels == 2 else 1)

    @property
    def rows_in_step(self) -> int:
        """Rows that come only together, because they share a colour."""
        return self.chroma or 1

    def planes(self, height: int, width: int, step: int) -> list[Plane]:
        """Where the pixels of an image lie; `step` is the message's, the stride of the first plane."""
        first = Plane(0, height, width * self.channels * self.bits // 8, step)
        if self.chroma is None:
            return [first]
        # As V4L2 and libcamera define nv12 and nv24: a chroma row has as many bytes as its luma rows' share, and so
        # the stride of nv24's is twice the luma's.
        return [first, Plane(first.end, height // self.chroma, 2 * width // self.chroma, 2 * step // self.chroma)]


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
    "8UC4": Encoding(4, to_rgb=cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, to_rgb=cv2.COLOR_GRAY2RGB),
    "8UC1": Encoding(1, to_rgb=cv2.COLOR_GRAY2RGB),
    "rgb16": Encoding(3, bits=16),
    "bgr16": Encoding(3, bits=16, to_rgb=cv2.COLOR_BGR2RGB),
    "rgba16": Encoding(4, bits=16, to_rgb=cv2.COLOR_RGBA2RGB),
    "bgra16": Encoding(4, bits=16, to_rgb=cv2.COLOR_BGRA2RGB),
    "mono16": Encoding(1, bits=16, to_rgb=cv2.COLOR_GRAY2RGB),
    # The names up to Humble, and those since.
    "yuv422": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUYV),
    "nv12": Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_NV12, chroma=2),
    "nv21": Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_NV21, chroma=2),
    "nv24": Encoding(1, chroma=1),
    **{f"bayer_{name}8": Encoding(1, to_rgb=code, smallest=3) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Encoding(1, bits=16, to_rgb=code, smallest=3) for name, code in _BAYER.items()},
}
"""Encodings that are decoded here, by their name in sensor_msgs."""

_MATRIX_TYPE = re.compile(r"(8|16|32|64)[USF]C?[0-9]*")
"""OpenCV's type names as encodings."""


def _studio_range_to_rgb() -> npt.NDArray[np.float64]:
    """The affine map [3, 4] from Y, U, V in studio range to R, G, B of 0 to 255 (ITU-R BT.601)."""
    luma, chroma = 255 / 219, 255 / 224
    by_yuv = np.array(
        [
            [luma, 0, 1.402 * chroma],
            [luma, -0.344136 * chroma, -0.714136 * chroma],
            [luma, 1.772 * chroma, 0],
        ]
    )
    return np.column_stack([by_yuv, -by_yuv @ [16, 128, 128]])


_NV24_TO_RGB = _studio_range_to_rgb()


def check_layout(message: Any) -> None:
    """Check a message's encoding, size, step and data against each other; no pixel is looked at.

    An encoding that is not known here passes, unless it is one that holds no colours.

    Raises:
        ImageError: they contradict each other, or the encoding holds no colours.
    """
    name, height, width, step, size = message.encoding, message.height, message.width, message.step, len(message.data)
    encoding = ENCODINGS.get(name)
    if encoding is None:
        if _MATRIX_TYPE.fullmatch(name):
            # 16UC1 and 32FC1 are depth from nearly every driver. cv_bridge does not convert these types to RGB either.
            raise ImageError(
                f"got encoding {name!r}, numbers such as depth that nothing says are colours, expected one of "
                f"{', '.join(ENCODINGS)}; subscribe to the camera's colour or grey images, or have the driver say what "
                "the numbers are (mono16, bgr16)"
            )
        return
    if min(height, width) < encoding.smallest:
        raise ImageError(
            f"got {width}x{height} pixels of {name}, expected at least {encoding.smallest}x{encoding.smallest}; "
            "a smaller piece of the pattern does not hold every colour"
        )
    if width % encoding.columns_in_step:
        raise ImageError(f"got width {width} with {name}, expected an even one: two pixels share a colour")
    if height % encoding.rows_in_step:
        raise ImageError(f"got height {height} with {name}, expected an even one: two rows share their colours")
    planes = encoding.planes(height, width, step)
    if step < planes[0].row_bytes:
        raise ImageError(
            f"got step {step} for {width} pixels of {name}, expected at least {planes[0].row_bytes} bytes; "
            "the driver must set step to the bytes of a row"
        )
    if size not in (planes[-1].end, planes[-1].end_without_padding):
        counted = "height" if len(planes) == 1 else "rows of luma and chroma"
        raise ImageError(
            f"got {size} bytes of data, expected step x {counted} = {step} x {planes[-1].end // step} = "
            f"{planes[-1].end}; the message was cut off or its size is wrong"
        )


def decode(message: Any) -> npt.NDArray[Any]:
    """Decode a message that `check_layout` let pass and whose encoding is one of ENCODINGS.

    Returns:
        RGB [height, width, 3] as uint8, or as uint16 of full range where the encoding has 16 bits. For `rgb8` without
        padding a view of the message's data, else a new array.
    """
    encoding = ENCODINGS[message.encoding]
    height, width = message.height, message.width
    planes = [plane.view(message.data) for plane in encoding.planes(height, width, message.step)]
    rows = np.ascontiguousarray(planes[0])
    if encoding.chroma is not None:
        chroma = np.ascontiguousarray(planes[1]).reshape(height // encoding.chroma, width // encoding.chroma, 2)
        if encoding.to_rgb is None:
            return np.asarray(cv2.transform(cv2.merge((rows, chroma)), _NV24_TO_RGB))
        return np.asarray(cv2.cvtColorTwoPlane(rows, chroma, encoding.to_rgb))
    if encoding.bits == 16:
        rows = rows.view(">u2" if message.is_bigendian else "<u2").astype(np.uint16)
    pixels = rows.reshape(height, width, encoding.channels)
    return pixels if encoding.to_rgb is None else np.asarray(cv2.cvtColor(pixels, encoding.to_rgb))
