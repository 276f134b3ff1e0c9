"""Clips to look at: beginnings of videos and image folders, or synthetic scenes that training never sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_model.frame_source import open_source
from rvm_training.data.video import probe, read_frames
from rvm_training.synthetic.generate import SceneConfig, random_scene

U8 = npt.NDArray[np.uint8]


def footage(sources: Sequence[str], frames: int, size: tuple[int, int]) -> Iterator[tuple[str, U8]]:
    """The first frames of videos.

    Args:
        sources: video files or folders of images.
        frames: how many of each.
        size: rows and columns wanted; the middle of a frame is cut out to its ratio.

    Yields:
        (name, RGB [frames, H, W, 3]).

    Raises:
        ValueError: a source cannot be read, or is shorter.
    """
    for source in sources:
        taken = [fitted(frame.rgb, size) for frame in islice(open_source(source), frames)]
        if len(taken) < frames:
            raise ValueError(f"{source}: got {len(taken)} frames, expected {frames}; ask for fewer")
        path = Path(source)
        yield path.name if path.is_dir() else path.stem, np.stack(taken)


def spread_frames(path: Path, frames: int, size: tuple[int, int]) -> U8:
    """Frames [frames, H, W, 3] of a video, spread evenly over all of it, the middle cut out to the size's ratio.

    Raises:
        VideoError: it cannot be decoded.
    """
    count, fps = probe(str(path))
    indices = np.linspace(0, count - 1, frames).round().astype(int).tolist()
    return np.stack([fitted(frame, size) for frame in read_frames(str(path), indices, fps)])


def scenes(count: int, frames: int, size: tuple[int, int], seed: int = 0) -> Iterator[tuple[str, U8]]:
    """Synthetic clips of photographs that training never sees, as `footage` gives them."""
    config = SceneConfig(noise_square_share=0.0, held_out=True)
    for index in range(count):
        scene = random_scene(np.random.default_rng([seed, index, 7]), *size, config)
        yield f"scene-{index:02d}", np.stack([scene.frame(t) for t in range(frames)])


def fitted(rgb: U8, size: tuple[int, int]) -> U8:
    """The middle of a frame [H, W, 3] at another size and ratio, by Pillow's Lanczos."""
    box = middle(rgb.shape[:2], size)
    return np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.LANCZOS, box))


def middle(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box (left, top, right, bottom) in the middle of a frame of that shape with the ratio of a size."""
    height, width = shape
    scale = min(height / size[0], width / size[1])
    rows, columns = size[0] * scale, size[1] * scale
    return (width - columns) / 2, (height - rows) / 2, (width + columns) / 2, (height + rows) / 2


def stretched(rgb: U8, size: tuple[int, int]) -> U8:
    """A whole frame [H, W, 3] at another size and ratio, by Pillow's Lanczos."""
    return np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.LANCZOS))
