"""What a message that is thrown at the node is made of, and what must come of it.

Shape legend: H W image sides in pixels.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, Image

from rvm_model.messages.images import RgbArray

Message: TypeAlias = Image | CompressedImage | bytes
"""Bytes are a message as it goes over the wire, which publishers send as they are."""
Rng: TypeAlias = np.random.Generator

MAX_PIXELS = 300_000
"""The node's parameter `max_pixels` in a soak: a bomb is what claims more, and a large frame is still quick."""
GOOD_SIZE = 48, 64
"""Height and width of good frames."""
FRAME_ID = "camera_optical_frame"
"""Of good frames."""


class Fate(enum.Enum):
    """What must come of a message."""

    TAKEN = "processed"
    """The state takes it in and features come out."""
    REFUSED = "refused"
    """It is counted as refused, and told."""
    DUPLICATE = "duplicates"
    """It is counted, and not taken in."""
    LATE = "late"
    """Likewise."""
    UNREADABLE = "unreadable"
    """DDS cannot read it: it reaches no callback and no count. The node must live."""


@dataclass(frozen=True)
class Made:
    """A message, still without a stamp."""

    message: Message
    image: RgbArray | None = None
    """What must go into the state, uint8 RGB [H, W, 3]; None where the message must be refused."""


@dataclass(frozen=True)
class Kind:
    """One way of being hostile or odd."""

    name: str
    make: Callable[[Rng], Made]
    """Makes another message of this kind at each call."""
    told: str = ""
    """Text that a line of the log must hold after one was refused."""
    readable: bool = True
    """Whether DDS can read it."""

    def fate(self, made: Made) -> Fate:
        """What must come of one that was made."""
        if not self.readable:
            return Fate.UNREADABLE
        return Fate.REFUSED if made.image is None else Fate.TAKEN


def picture(rng: Rng, height: int = GOOD_SIZE[0], width: int = GOOD_SIZE[1]) -> RgbArray:
    """Noise, uint8 RGB [height, width, 3]."""
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def raw(data: bytes, height: int, width: int, step: int, encoding: str, *, big_endian: int = 0) -> Image:
    """A raw image of which nothing has to be right."""
    message = Image(height=height, width=width, step=step, encoding=encoding, is_bigendian=big_endian)
    message.header.frame_id = FRAME_ID
    message.data.frombytes(data)
    return message


def rgb8(pixels: npt.NDArray[np.uint8]) -> Image:
    """A good raw image of uint8 RGB [H, W, 3]."""
    height, width = pixels.shape[:2]
    return raw(pixels.tobytes(), height, width, width * 3, "rgb8")


def compressed(data: bytes, label: str = "jpeg") -> CompressedImage:
    """A compressed image of any bytes."""
    message = CompressedImage(format=label)
    message.header.frame_id = FRAME_ID
    message.data.frombytes(data)
    return message


def encoded(pixels: npt.NDArray[np.integer], extension: str, *options: int) -> bytes:
    """The file that OpenCV makes of RGB [H, W, 3] or grey [H, W], with OpenCV's options."""
    swapped = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(extension, swapped, list(options))
    assert done, f"OpenCV encodes {extension}"
    return bytes(data)


def by_opencv(data: bytes) -> RgbArray:
    """What OpenCV reads in a file, uint8 RGB [H, W, 3]; the node reads JPEGs with another decoder."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert bgr is not None, "a file that OpenCV can read"
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
