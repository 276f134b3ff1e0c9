"""How much is made of labelled clips."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipsConfig:
    """Short clips to learn from, and others, of photographs that the first do not show, to see what was learned."""

    train: int = 256
    """Clips to learn from."""
    val: int = 64
    """Clips held out."""
    frames: int = 16
    """Frames of a clip."""
    side: int = 96
    """Rows and columns."""
    seed: int = 0
    """Of the clips."""

    def __post_init__(self) -> None:
        """Refuse what teaches nothing."""
        if min(self.train, self.val) < 1 or self.frames < 2 or self.side < 32 or self.side % 2:
            raise ValueError(
                f"clips: got {self.train} and {self.val} clips of {self.frames} frames with side {self.side}, "
                "expected at least 1 clip of 2 frames, and an even side of at least 32"
            )

    def numbers(self, split: str) -> range:
        """Numbers of the clips of `train` or `val`."""
        return range(self.train) if split == "train" else range(self.train, self.train + self.val)
