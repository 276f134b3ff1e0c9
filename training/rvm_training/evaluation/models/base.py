"""What every evaluated model is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

Video = npt.NDArray[np.uint8]
"""RGB frames [T, H, W, 3]."""


@dataclass(frozen=True)
class ModelInfo:
    """Which model it is; what results carry."""

    name: str
    """What tables call it."""
    kind: str
    """`recurrent`, `frame by frame` or `clips`: what it sees of the frames before."""
    weights: str
    """Identity of the weights, `sha256:...` of their file or a specification; empty where there are none."""
    trained: bool
    """False for random weights, and where there are none."""
    arithmetic: str
    """Precision in words, for example `fp32`."""
    runs_on: str
    """Runtime and device."""
    patch_size: int
    """Side of a patch in pixels."""

    @property
    def file_name(self) -> str:
        """The name as files may have it."""
        return file_name(self.name)


def file_name(name: str) -> str:
    """A name as files may have it."""
    return re.sub(r"[^\w.-]+", "-", name)


class VideoModel(ABC):
    """Gives dense features of videos of one size."""

    def __init__(self, info: ModelInfo, size: tuple[int, int]) -> None:
        """Keep what every model has.

        Args:
            info: which model it is.
            size: rows and columns of the frames.

        Raises:
            ValueError: the frames are smaller than a patch.
        """
        if min(size) < info.patch_size:
            raise ValueError(
                f"{info.name}: got frames of {size[0]}x{size[1]}, expected at least one patch of {info.patch_size}"
            )
        self.info = info
        self.size = size

    @property
    def grid(self) -> tuple[int, int]:
        """Patch rows and columns; what is left of the frame at its right and lower edge is not seen."""
        return self.size[0] // self.info.patch_size, self.size[1] // self.info.patch_size

    @abstractmethod
    def features(self, frames: Video) -> Tensor:
        """Feature maps of a video.

        Args:
            frames: RGB uint8 [T, H, W, 3] of this model's size.

        Returns:
            float32 [T, h, w, D] on the model's device; not normalised.

        Raises:
            ValueError: frames of another shape or type.
        """

    def features_of_several(self, videos: Sequence[Video]) -> list[Tensor]:
        """Feature maps of videos of one length; side by side where that is faster, equal but for rounding.

        Args:
            videos: as `features` takes them, all with as many frames.

        Returns:
            For each what `features` gives.

        Raises:
            ValueError: frames of another shape or type.
        """
        return [self.features(video) for video in videos]

    def check(self, frames: Video) -> None:
        """Check the argument of `features`.

        Raises:
            ValueError: frames of another shape or type, or none.
        """
        if frames.dtype != np.uint8 or frames.shape[1:] != (*self.size, 3) or not len(frames):
            raise ValueError(
                f"frames: got {frames.dtype} {frames.shape}, expected uint8 [T, {self.size[0]}, {self.size[1]}, 3]"
            )
