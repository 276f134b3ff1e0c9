"""A robot's view of a room: a floor, a wall, and flat things that stand about; with the depth of every pixel.

What tells depth in a single picture is there: where something touches the floor, how large it is, and the haze before
it; and from frame to frame the parallax.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rvm_training.synthetic.shapes import shape
from rvm_training.synthetic.textures import texture

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

CLASSES = ("wall", "floor", "thing")
"""Names of the labels 0, 1 and 2."""
CAMERA_M = 0.8
"""Height of the camera above the floor."""
FOCAL = 0.8
"""Focal length as a share of the picture's side."""
HORIZON = (0.25, 0.5)
"""Highest and lowest row of the horizon as a share of the side."""
THING_M = (0.8, 1.8)
"""Smallest and largest thing."""
HAZE = np.array([150, 160, 170], np.float32)
"""Colour of what is very far away."""
HAZE_M = 6.0
"""Distance over which haze takes all but 1/e of a colour."""
_TEXTURE_M = 2.0
_TEXTURE_SIDE = 256


@dataclass(frozen=True)
class Thing:
    """Something flat that faces the camera."""

    across_m: float
    """To the right of the camera's way."""
    ahead_m: float
    """From where the camera starts."""
    side_m: float
    image: U8
    """RGBA [s, s, 4]."""


@dataclass(frozen=True)
class View:
    """What the camera sees at a time."""

    rgb: U8
    """[side, side, 3]."""
    depth_m: F32
    """[side, side]: along the camera's axis."""
    labels: U8
    """[side, side]: index into CLASSES."""


class Room:
    """A room, and a camera that drives through it."""

    def __init__(self, rng: np.random.Generator, side: int, frames: int, *, held_out: bool) -> None:
        """Draw a room.

        Args:
            rng: source of randomness.
            side: rows and columns of the picture.
            frames: over which the camera drives.
            held_out: take the photographs that training never sees.
        """
        self._side = side
        self._horizon = float(rng.uniform(*HORIZON))
        self._wall_m = float(rng.uniform(4.5, 9.0))
        self._ahead = float(rng.uniform(0.0, 1.2)) / frames
        self._across = float(rng.uniform(-0.6, 0.6)) / frames

        def surface(share: float) -> U8:
            return texture(rng, _TEXTURE_SIDE, photograph_share=share, held_out=held_out)

        self._floor, self._wall = surface(0.3), surface(0.3)
        self._things = tuple(
            Thing(
                float(rng.uniform(-1.2, 1.2)),
                float(ahead),
                float(rng.uniform(*THING_M)),
                np.dstack([surface(0.8), (shape(rng, _TEXTURE_SIDE) * 255).astype(np.uint8)]),
            )
            for ahead in np.sort(rng.uniform(1.8, self._wall_m - 0.3, int(rng.integers(1, 4))))[::-1]
        )

    def view(self, t: float) -> View:
        """What is seen at time t, in frames."""
        side = self._side
        right_m, ahead_m = self._across * t, self._ahead * t
        rows, columns = np.mgrid[:side, :side].astype(np.float32)
        up = (rows + 0.5) / side - self._horizon
        # The floor ends where the wall stands.
        wall_m = self._wall_m - ahead_m
        floor_m = FOCAL * CAMERA_M / np.maximum(up, 1e-6)
        on_floor = floor_m < wall_m
        depth = np.where(on_floor, floor_m, wall_m).astype(np.float32)
        across = ((columns + 0.5) / side - 0.5) * depth / FOCAL + right_m
        along = np.where(on_floor, depth + ahead_m, up * depth / FOCAL)
        scale = _TEXTURE_SIDE / _TEXTURE_M
        place = (across * scale).astype(np.float32), (along * scale).astype(np.float32)
        pictures = [
            cv2.remap(each, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) for each in (self._floor, self._wall)
        ]
        rgb = np.where(on_floor[..., None], *pictures).astype(np.float32)
        labels = on_floor.astype(np.uint8)
        for thing in self._things:
            self._stand(thing, right_m, ahead_m, rgb, depth, labels)
        clear = np.exp(-depth / HAZE_M)[..., None]
        hazy = np.rint(rgb * clear + HAZE * (1 - clear))
        return View(np.clip(hazy, 0, 255).astype(np.uint8), depth, labels)

    def _stand(self, thing: Thing, right_m: float, ahead_m: float, rgb: F32, depth: F32, labels: U8) -> None:
        """Draw a thing over what is there."""
        side, away = self._side, thing.ahead_m - ahead_m
        if away < 0.2:
            return
        pixels_per_m = FOCAL * side / away
        scale = thing.side_m * pixels_per_m / _TEXTURE_SIDE
        left = side / 2 + (thing.across_m - right_m) * pixels_per_m - scale * _TEXTURE_SIDE / 2
        bottom = self._horizon * side + CAMERA_M * pixels_per_m
        move = np.array([[scale, 0, left], [0, scale, bottom - scale * _TEXTURE_SIDE]])
        drawn = cv2.warpAffine(thing.image, move, (side, side), flags=cv2.INTER_LINEAR)
        seen = drawn[..., 3] > 127
        rgb[seen], depth[seen], labels[seen] = drawn[..., :3][seen], away, CLASSES.index("thing")
