"""The demo's clip: a camera pans over one picture while cut-outs of others cross on it, so the masks are known.

The pictures are photographs that scikit-image's wheel carries, or procedural textures.
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

from rvm_training.synthetic.motion import Camera, Pose, Track, Wave
from rvm_training.synthetic.scene import Layer, Scene
from rvm_training.synthetic.textures import texture

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
    procedural: int | None = None
    """Seed of procedural textures to take for the photographs; None takes the photographs."""

    def __post_init__(self) -> None:
        """Refuse what the encoder cannot write."""
        if self.frames < 2 or self.fps < 1:
            raise ValueError(f"demo clip: got {self.frames} frames at {self.fps} fps, expected at least 2 at 1 or more")
        if self.height % 2 or self.width % 2 or min(self.height, self.width) < 64:
            raise ValueError(f"demo clip: got {self.height}x{self.width}, expected even sides of at least 64 pixels")


def scene(config: DemoClipConfig) -> Scene:
    """The clip's scene: label 1 is a person, label 2 a cat that passes in front; or textures for them."""
    height, width = config.height, config.width
    behind, person, cat = _pictures(config.procedural)
    # A window of about two thirds of the picture slides over it: ego-motion without new content popping in.
    rows, columns = behind.shape[:2]
    window = min(0.68 * rows, 0.8 * columns * height / width)
    zoom = height / window
    reach_x, reach_y = columns * zoom - width, rows * zoom - height
    last = config.frames - 1
    pan = Pose(
        Track(-reach_x / 2, reach_x / last),
        Track(0.0, wave=Wave((reach_y / 2,), (2 * np.pi / last,), (0.0,))),
    )
    middle = ((width - 1) / 2, (height - 1) / 2)
    background = Layer(behind, Pose(Track(middle[0]), Track(middle[1]), log_scale=Track(float(np.log(zoom)))))

    def sprite(image: U8, size: float, start: tuple[float, float], end: tuple[float, float], turn_deg: float) -> Layer:
        scale = size * height / image.shape[0]
        small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        x, y = (
            Track(start[axis] * extent, (end[axis] - start[axis]) * extent / last)
            for axis, extent in enumerate((width, height))
        )
        pose = Pose(x, y, angle=Track(0.0, float(np.deg2rad(turn_deg)) / last))
        return Layer(small, pose, alpha=_soft_ellipse(*small.shape[:2]), depth=np.inf)

    first = sprite(person, 0.42, (0.12, 0.62), (0.85, 0.48), 10.0)
    second = sprite(cat, 0.36, (0.9, 0.2), (0.2, 0.5), -25.0)
    return Scene(height, width, (background, first, second), Camera(pan, middle))


def _pictures(procedural: int | None) -> tuple[U8, U8, U8]:
    """Background, person and cat."""
    if procedural is None:
        return data.coffee(), data.astronaut()[0:300, 130:330], data.chelsea()[30:290, 110:370]
    rng = np.random.default_rng(procedural)
    behind, person, cat = (texture(rng, side, photograph_share=0) for side in (600, 300, 260))
    return behind[:400], person[:, 50:250], cat


def render(config: DemoClipConfig) -> Iterator[tuple[U8, U8]]:
    """Yield the frames and their masks.

    Yields:
        (frame uint8 [H, W, 3] RGB, mask uint8 [H, W]: 0 background, 1.. the moving objects, later ones in front).
    """
    made = scene(config)
    for index in range(config.frames):
        yield made.frame(index), made.mask(index)


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


def _soft_ellipse(rows: int, columns: int) -> npt.NDArray[np.float32]:
    # Soft edges: a hard cut would give the object an outline that gives it away in every single frame.
    alpha = np.zeros((rows, columns), np.float32)
    cv2.ellipse(alpha, (columns // 2, rows // 2), (columns // 2 - 4, rows // 2 - 4), 0, 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), 1.5), np.float32)
