"""Random resized crop and flip, the same for all frames of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ATTEMPTS = 10
"""Boxes that are tried before the largest one of the nearest allowed ratio is taken."""


@dataclass(frozen=True)
class CropConfig:
    """Random resized crop; the defaults are what is said of the paper, third-hand."""

    area: tuple[float, float] = (0.3, 1.0)
    """Smallest and largest share of the image's area."""
    ratio: tuple[float, float] = (0.75, 4 / 3)
    """Narrowest and widest ratio of width to height, drawn uniformly in its logarithm."""
    flip: float = 0.5
    """Probability of a left-right flip."""

    def __post_init__(self) -> None:
        """Refuse empty ranges."""
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"crop area: got {self.area}, expected 0 < smallest <= largest <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"crop ratio: got {self.ratio}, expected 0 < narrowest <= widest")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip: got {self.flip}, expected a probability")


@dataclass(frozen=True)
class Crop:
    """A box of an image, in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def apply(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A view of frames [T, H, W, 3] within the box, mirrored where that was drawn."""
        box = frames[:, self.top : self.top + self.height, self.left : self.left + self.width]
        return box[:, :, ::-1] if self.flip else box


def draw_crop(rng: np.random.Generator, height: int, width: int, config: CropConfig) -> Crop:
    """Draw a box within an image of height x width pixels."""
    box_height, box_width = _size(rng, height, width, config)
    top = int(rng.integers(0, height - box_height + 1))
    left = int(rng.integers(0, width - box_width + 1))
    return Crop(top, left, box_height, box_width, flip=bool(rng.random() < config.flip))


def centre_crop(height: int, width: int, shape: tuple[int, int]) -> Crop:
    """The largest box with the ratio of `shape` (rows, columns) in the middle: what validation takes."""
    box_height = min(height, round(width * shape[0] / shape[1]))
    box_width = min(width, round(height * shape[1] / shape[0]))
    return Crop((height - box_height) // 2, (width - box_width) // 2, box_height, box_width, flip=False)


def _size(rng: np.random.Generator, height: int, width: int, config: CropConfig) -> tuple[int, int]:
    for _ in range(ATTEMPTS):
        area = rng.uniform(*config.area) * height * width
        ratio = math.exp(rng.uniform(math.log(config.ratio[0]), math.log(config.ratio[1])))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            return box_height, box_width
    # The whole image, cut to the nearest allowed ratio.
    ratio = min(max(width / height, config.ratio[0]), config.ratio[1])
    return min(height, round(width / ratio)), min(width, round(height * ratio))
