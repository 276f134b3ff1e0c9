"""Where clips come from: videos of a manifest, or scenes that are rendered. Both draw from a random generator alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import fsspec
import numpy as np
import numpy.typing as npt

from rvm_training.data.frames import FrameSampling
from rvm_training.data.manifest import Clip, Manifest
from rvm_training.data.mixture import Mixture
from rvm_training.data.video import Backend, VideoError, read_frames
from rvm_training.data.window import FileWindow
from rvm_training.synthetic.generate import SceneConfig, random_scene

BLOCK_BYTES = 2**20
"""Read at once from a file that is not local, where more is not asked for."""


@dataclass(frozen=True)
class DrawnClip:
    """Frames of one clip, before cropping."""

    frames: npt.NDArray[np.uint8]
    """RGB [sources + targets, H, W, 3], sources first."""
    deltas: list[int]
    """For each target the delta given to the network."""


class ClipSource(Protocol):
    """Something that clips are drawn from."""

    def draw(self, rng: np.random.Generator) -> DrawnClip:
        """Draw a clip, as a pure function of the generator's state.

        Raises:
            VideoError: the video that was drawn cannot be used.
        """


class VideoSource:
    """Clips of a manifest's videos."""

    def __init__(self, manifest: Manifest, mixture: Mixture, sampling: FrameSampling, backend: Backend) -> None:
        self._manifest = manifest
        self._mixture = mixture
        self._sampling = sampling
        self._backend = backend

    def draw(self, rng: np.random.Generator) -> DrawnClip:
        """Draw a row, then frames within it; only those are decoded."""
        clip = self._manifest[self._mixture.draw(rng)]
        choice = self._sampling.draw(rng, clip.frames)
        indices = [clip.start + index for index in choice.sources + choice.targets]
        with opened(clip) as file:
            return DrawnClip(read_frames(file, indices, clip.fps, self._backend), choice.deltas)


class SceneSource:
    """Clips of random scenes, each rendered at the frames that the clip needs."""

    def __init__(self, config: SceneConfig, sampling: FrameSampling, size: tuple[int, int]) -> None:
        self._config = config
        self._sampling = sampling
        self._size = size

    def draw(self, rng: np.random.Generator) -> DrawnClip:
        """Draw a scene and frames of it."""
        scene = random_scene(rng, *self._size, self._config)
        choice = self._sampling.draw(rng, self._sampling.longest)
        return DrawnClip(np.stack([scene.frame(time) for time in choice.sources + choice.targets]), choice.deltas)


@contextmanager
def opened(clip: Clip) -> Iterator[str | BinaryIO]:
    """The file of a clip as decoders take it: a local path, or an open file for URLs and members of tar shards.

    Raises:
        VideoError: it cannot be opened.
    """
    try:
        if not clip.size and "://" not in clip.path:
            yield clip.path
            return
        # A store is read in blocks of this size: a short clip comes with one request, a long one as decoding asks.
        filesystem, path = fsspec.core.url_to_fs(clip.path)
        with filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="readahead") as file:
            size = clip.size or file.seek(0, io.SEEK_END)
            name = f"{clip.path} at byte {clip.offset}" if clip.size else clip.path
            yield io.BufferedReader(FileWindow(file, clip.offset, size, name))
    except OSError as error:
        raise VideoError(f"{clip.path}: cannot be opened ({error})") from error
