"""The moving white-noise square (paper figure 6): no single frame shows it, only its motion does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rvm_training.synthetic.motion import Camera, Pose, Track
from rvm_training.synthetic.scene import Layer, Scene
from rvm_training.synthetic.shapes import square
from rvm_training.synthetic.textures import white_noise


@dataclass(frozen=True)
class NoiseSquareConfig:
    """A square of white noise that moves over a background of the same noise."""

    height: int = 256
    width: int = 256
    side: float = 0.35
    """Side of the square as a share of the image's shorter side."""
    speed: tuple[float, float] = (1.0, 4.0)
    """Slowest and fastest motion along each axis in pixels per frame at a short side of 128; it grows with it."""

    def __post_init__(self) -> None:
        """Refuse a square that does not fit."""
        if not 0 < self.side < 1:
            raise ValueError(f"side: got {self.side}, expected a share between 0 and 1")
        if min(self.height, self.width) < 16:
            raise ValueError(f"noise square: got {self.height}x{self.width}, expected sides of at least 16 pixels")


def noise_square_scene(rng: np.random.Generator, config: NoiseSquareConfig = NoiseSquareConfig()) -> Scene:
    """Draw one: label 1 in the mask is the square, which bounces within the image; the camera stands still."""
    height, width = config.height, config.width
    size = max(4, round(config.side * min(height, width)))
    # A value for each pixel: with larger cells those of the square would be out of step with those around it.
    noise = white_noise(rng, height + size, width + size)
    background = Layer(
        noise[:height, :width], Pose(Track((width - 1) / 2), Track((height - 1) / 2)), depth=np.inf, smooth=False
    )

    def coordinate(extent: int) -> Track:
        low, high = (size - 1) / 2, extent - 1 - (size - 1) / 2
        speed = rng.uniform(*config.speed) * min(height, width) / 128
        return Track(float(rng.uniform(low, high)), float(speed * rng.choice([-1, 1])), low, high)

    moving = Layer(
        noise[height:, width:],
        Pose(coordinate(width), coordinate(height)),
        alpha=square(size),
        depth=np.inf,
        smooth=False,
    )
    still = Camera(Pose(Track(0.0), Track(0.0)), ((width - 1) / 2, (height - 1) / 2))
    return Scene(height, width, (background, moving), still)
