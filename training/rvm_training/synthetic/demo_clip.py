"""The demo's clip: a camera pans over one photograph while cut-outs of others move over it, so the masks are known.

The photographs are those that scikit-image's wheel carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DemoClipConfig:
    """What the clip looks like."""

    frames: int = 80
    """Number of frames."""
    height: int = 384
    """Rows in pixels, even."""
    width: int = 512
    """Columns in pixels, even."""
    fps: int = 10
    """Frames per second of the video's own clock."""

    def __post_init__(self) -> None:
        """Refuse what the encoder cannot write."""
        if self.frames < 2 or self.fps < 1:
            raise ValueError(f"demo clip: got {self.frames} frames at {self.fps} fps, expected at least 2 at 1 or more")
        if self.height % 2 or self.width % 2 or min(self.height, self.width) < 64:
            raise ValueError(f"demo clip: got {self.height}x{self.width}, expected even sides of at least 64 pixels")


@dataclass(frozen=True)
class Sprite:
    """A cut-out of a photograph and the path that it takes."""

    texture: U8
    """RGB [h, w, 3]."""
    alpha: npt.NDArray[np.float32]
    """Coverage [h, w] in [0, 1]."""
    start: tuple[float, float]
    """Centre (x, y) at the first frame, in shares of the image's width and height."""
    end: tuple[float, float]
    """Centre at the last frame."""
    turn_deg: float
    """Rotation from the first frame to the last."""


def render(config: DemoClipConfig) -> Iterator[tuple[U8, U8]]:
    """Yield the frames and their masks.

    Yields:
        (frame uint8 [H, W, 3] RGB, mask uint8 [H, W]: 0 background, 1.. the moving objects, later ones in front).
    """
    background = data.coffee()
    sprites = [
        _sprite(data.astronaut()[0:300, 130:330], config.height * 0.42, (0.12, 0.62), (0.85, 0.48), -10.0),
        _sprite(data.chelsea()[30:290, 110:370], config.height * 0.36, (0.9, 0.3), (0.2, 0.66), 25.0),
    ]
    for index in range(config.frames):
        t = index / (config.frames - 1)
        frame = _pan(background, t, config).astype(np.float32)
        mask = np.zeros((config.height, config.width), np.uint8)
        for label, sprite in enumerate(sprites, start=1):
            texture, alpha = _place(sprite, t, config)
            frame = frame * (1 - alpha[..., None]) + texture * alpha[..., None]
            mask[alpha > 0.5] = label
        yield np.clip(np.rint(frame), 0, 255).astype(np.uint8), mask


def write(folder: Path, config: DemoClipConfig) -> tuple[Path, Path]:
    """Render the clip into a folder.

    Args:
        folder: made where it is missing.
        config: what the clip looks like.

    Returns:
        Paths of `clip.mp4` (H.264) and `masks.npz` (array `masks` uint8 [frames, H, W], aligned with the video).
    """
    folder.mkdir(parents=True, exist_ok=True)
    video_path, mask_path = folder / "clip.mp4", folder / "masks.npz"
    masks = []
    with av.open(str(video_path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(config.fps), options={"crf": "16", "g": "30"})
        stream.width, stream.height, stream.pix_fmt = config.width, config.height, "yuv420p"
        for frame, mask in render(config):
            masks.append(mask)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    np.savez_compressed(mask_path, masks=np.stack(masks))
    return video_path, mask_path


def _pan(photograph: U8, t: float, config: DemoClipConfig) -> U8:
    # A window of two thirds of the photograph slides along its diagonal: ego-motion without new content popping in.
    height, width = photograph.shape[:2]
    scale = 0.68
    crop_h = height * scale
    crop_w = min(crop_h * config.width / config.height, width * 0.8)
    crop_h = crop_w * config.height / config.width
    x, y = t * (width - crop_w), (0.5 + 0.5 * np.sin(2 * np.pi * t)) * (height - crop_h)
    zoom = config.width / crop_w
    matrix = np.array([[zoom, 0, -x * zoom], [0, zoom, -y * zoom]])
    window = cv2.warpAffine(photograph, matrix, (config.width, config.height), flags=cv2.INTER_LINEAR)
    return np.asarray(window, np.uint8)


def _sprite(
    photograph: U8, height: float, start: tuple[float, float], end: tuple[float, float], turn_deg: float
) -> Sprite:
    scale = height / photograph.shape[0]
    texture = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows, columns = texture.shape[:2]
    alpha = np.zeros((rows, columns), np.float32)
    # A soft-edged ellipse: a hard cut would give the object an outline that gives it away in every single frame.
    cv2.ellipse(alpha, (columns // 2, rows // 2), (columns // 2 - 4, rows // 2 - 4), 0, 0, 360, 1.0, -1)
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 1.5), np.float32)
    return Sprite(np.asarray(texture, np.uint8), soft, start, end, turn_deg)


def _place(sprite: Sprite, t: float, config: DemoClipConfig) -> tuple[U8, npt.NDArray[np.float32]]:
    rows, columns = sprite.alpha.shape
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), sprite.turn_deg * t, 1.0)
    for axis, extent in ((0, config.width), (1, config.height)):
        centre = (sprite.start[axis] + (sprite.end[axis] - sprite.start[axis]) * t) * extent
        matrix[axis, 2] += centre - (columns, rows)[axis] / 2
    size = (config.width, config.height)
    texture = cv2.warpAffine(sprite.texture, matrix, size, flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(sprite.alpha, matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray(texture, np.uint8), np.asarray(alpha, np.float32)
