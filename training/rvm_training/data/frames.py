"""Which frames of a video make a training clip: consecutive sources and later targets (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class FrameSampling:
    """How source and target frames are drawn."""

    sources: int = 4
    """Consecutive source frames that the core takes in. 1 is the setting of SiamMAE."""
    fewest_sources: int | None = None
    """Training batches take the last so many of the sources, one more from step to step up to `sources`, and again: a
    state is asked for at any age. Null takes all always."""
    replay: int = 0
    """Times that sources are played forward and backward before they count, in every other turn through the numbers of
    sources: states then are older than the sources, as on a robot. No gradient goes through it."""
    targets: int = 4
    """Target frames to reconstruct, each with a delta of its own."""
    delta_min: int = 4
    """Least number of frames from the delta's origin to a target."""
    delta_max: int = 48
    """Largest number of frames from the delta's origin to a target; a shorter video allows less."""
    delta_origin: Literal["last", "first"] = "last"
    """Frame that deltas count from: the last source, as the paper says, or the first, as the authors' notebook does."""
    frame_stride: int = 1
    """Frames of the video per frame of the clip: 2 halves the rate. Unknown for the paper's datasets."""

    def __post_init__(self) -> None:
        """Refuse what has no frames."""
        if self.replay < 0:
            raise ValueError(f"frames.replay: got {self.replay}, expected 0 or more")
        if min(self.sources, self.targets, self.frame_stride) < 1:
            raise ValueError(
                f"frames: got {self.sources} sources, {self.targets} targets, stride {self.frame_stride}, "
                "expected at least 1 of each"
            )
        if self.fewest_sources is not None and not (
            1 <= self.fewest_sources <= self.sources and self.delta_origin == "last"
        ):
            raise ValueError(
                f"frames.fewest_sources: got {self.fewest_sources} of {self.sources} with deltas from the "
                f"{self.delta_origin} source, expected 1 to {self.sources}, and deltas from the last, which is always "
                "there"
            )
        if not self.nearest <= self.delta_min <= self.delta_max:
            raise ValueError(
                f"frames: got deltas {self.delta_min}..{self.delta_max} from the {self.delta_origin} source, "
                f"expected {self.nearest} <= delta_min <= delta_max"
            )

    @property
    def source_counts(self) -> range:
        """Numbers of sources that training takes in turn."""
        return range(self.sources if self.fewest_sources is None else self.fewest_sources, self.sources + 1)

    @property
    def nearest(self) -> int:
        """The smallest delta whose target lies after the last source."""
        return 1 if self.delta_origin == "last" else self.sources

    @property
    def shortest(self) -> int:
        """Frames of the shortest video that holds a clip."""
        return (self._origin + self.delta_min) * self.frame_stride + 1

    @property
    def longest(self) -> int:
        """Frames that the clip with the largest delta spans."""
        return (self._origin + self.delta_max) * self.frame_stride + 1

    @property
    def _origin(self) -> int:
        return self.sources - 1 if self.delta_origin == "last" else 0

    def draw(self, rng: np.random.Generator, length: int) -> FrameChoice:
        """Draw a clip from a video: deltas uniform, then the start uniform among those where they fit.

        Args:
            rng: source of randomness.
            length: frames that the video has.

        Raises:
            ValueError: the video is shorter than `shortest`.
        """
        if length < self.shortest:
            raise ValueError(
                f"video: got {length} frames, expected at least {self.shortest} for {self.sources} sources, a delta of "
                f"{self.delta_min} and stride {self.frame_stride}"
            )
        longest = min(self.delta_max, (length - 1) // self.frame_stride - self._origin)
        deltas = rng.integers(self.delta_min, longest + 1, self.targets)
        span = (self._origin + int(deltas.max())) * self.frame_stride
        start = int(rng.integers(0, length - span))
        sources = start + np.arange(self.sources) * self.frame_stride
        targets = start + (self._origin + deltas) * self.frame_stride
        return FrameChoice(sources.tolist(), targets.tolist(), deltas.tolist())


@dataclass(frozen=True)
class FrameChoice:
    """Frames of one clip, counted from the start of the video."""

    sources: list[int]
    """Consecutive (but for the stride)."""
    targets: list[int]
    """In the order drawn; two may be equal."""
    deltas: list[int]
    """For each target the delta given to the network, in frames of the clip."""
