"""Frames to calibrate and to compare engines on: the user's videos and bags, and rendered scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rvm_model.bags import is_bag, open_bag
from rvm_model.bags.images import image_topics, read_images
from rvm_model.preprocess import resize
from rvm_training.data.video import probe, read_frames
from rvm_training.synthetic.generate import SceneConfig, random_scene

STRETCHES, STRETCH = 8, 16
"""Most stretches of consecutive frames that calibration takes from each video, and the length of each."""
EXPOSURES = (1.0, 1.0, 1.0, 1.0, 0.3, 0.1, 0.0, 4.0)
"""Brightness of the rendered scenes for calibration: a robot also meets night, a covered lens and the sun."""

Read = Callable[[Sequence[int]], Iterable[np.ndarray]]
"""Ascending indices of frames to the frames, uint8 RGB [H, W, 3] each, one at a time."""


def calibration_clips(recordings: Sequence[Path], size: tuple[int, int]) -> list[Tensor]:
    """Stretches of frames uint8 [steps, H, W, 3]: of rendered scenes, for variety, and spread over the recordings.

    Args:
        recordings: videos and bags; of a bag, every image topic counts as a video. A short one gives fewer stretches,
            no two of which start at the same frame.
        size: height and width of the frames.

    Raises:
        ValueError: a recording cannot be read or has no images.
    """
    clips = []
    for index, exposure in enumerate(EXPOSURES):
        scene = random_scene(np.random.default_rng([3, index]), *size)
        lit = np.stack([scene.frame(t) for t in range(STRETCH)]) * exposure
        clips.append(torch.from_numpy(lit.clip(0, 255).astype(np.uint8)))
    for recording in recordings:
        for count, read in _videos(recording):
            starts = np.unique(np.linspace(0, max(0, count - STRETCH), STRETCHES).astype(int)).tolist()
            stretches = [range(start, min(start + STRETCH, count)) for start in starts]
            # All at once, as a bag is walked from its beginning for every reading.
            indices = sorted({index for stretch in stretches for index in stretch})
            shown = dict(zip(indices, _resized(read(indices), size), strict=True))
            clips += [torch.stack([shown[index] for index in stretch]) for stretch in stretches]
    return clips


def comparison_frames(recording: Path | None, steps: int, cameras: int, size: tuple[int, int]) -> Tensor:
    """Frames uint8 [steps, cameras, H, W, 3]; cameras see the recording shifted in time, or scenes of their own.

    Args:
        recording: a video, or a bag, of which the image topic with most messages counts; None renders scenes.
        steps: frames of each camera.
        cameras: size of the batch.
        size: height and width of the frames.

    Raises:
        ValueError: the recording cannot be read, or is too short.
    """
    if recording is None:
        scenes = [random_scene(np.random.default_rng([2, camera]), *size, SceneConfig()) for camera in range(cameras)]
        return torch.from_numpy(np.stack([[scene.frame(t) for scene in scenes] for t in range(steps)]))
    count, read = max(_videos(recording), key=lambda video: video[0])
    if count < steps + cameras - 1:
        raise ValueError(f"{recording}: got {count} frames, expected at least {steps + cameras - 1} for the comparison")
    shown = _resized(read(range(steps + cameras - 1)), size)
    return torch.stack([shown[camera : camera + steps] for camera in range(cameras)], dim=1)


def _videos(recording: Path) -> Iterator[tuple[int, Read]]:
    """Number of frames and how to read them, of a video or of each image topic of a bag."""
    if is_bag(recording):
        with open_bag(recording) as bag:
            topics = image_topics(bag)
        for topic, count in topics.items():
            yield count, partial(read_images, recording, topic)
    else:
        count, fps = probe(str(recording))
        yield count, partial(_read_video, str(recording), fps)


def _read_video(file: str, fps: float, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of a video, a stretch at a time: all frames of a reading are in memory together, at their full size."""
    for start in range(0, len(indices), STRETCH):
        yield from read_frames(file, indices[start : start + STRETCH], fps)


def _resized(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Frames uint8 [steps, *size, 3], each resized as it comes."""
    return torch.stack([resize(torch.from_numpy(np.ascontiguousarray(frame)), *size) for frame in frames])
