"""What a readout is trained for: clips with targets, a head, a loss and a score."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.models.base import file_name

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """Frames and what is to be read from them."""

    frames: U8
    """RGB [T, H, W, 3], of the task's number and size."""
    targets: Mapping[str, npt.NDArray[Any]]
    """Arrays by name, of the same shapes for all clips of a task but for a first axis that may vary."""


@dataclass(frozen=True)
class Sample:
    """A clip that is read when it is needed."""

    key: str
    """Unique in its split, and fit for a file's name."""
    read: Callable[[], Clip]
    """Raises ValueError or OSError where the clip cannot be used."""


@dataclass(frozen=True)
class ClipSettings:
    """What is taken of a video."""

    frames: int = 16
    """Frames T."""
    size: tuple[int, int] = (224, 224)
    """Rows and columns."""
    stride: int = 1
    """Frames of the video for one of the clip, where clips are windows of videos. Unknown for the paper."""
    per_video: int = 8
    """Most windows of a video, spread over all of it."""

    def __post_init__(self) -> None:
        """Refuse clips of nothing."""
        for name in ("frames", "stride", "per_video"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least 1")

    @property
    def span(self) -> int:
        """Frames of a video from a clip's first to its last."""
        return (self.frames - 1) * self.stride + 1

    def windows(self, count: int) -> list[list[int]]:
        """Frames of the clips of a video of `count` frames: windows that do not overlap; none where it is shorter."""
        span = self.span
        starts = np.arange(0, count - span + 1, span)
        if len(starts) > self.per_video:
            starts = starts[np.linspace(0, len(starts) - 1, self.per_video).round().astype(int)]
        return [list(range(start, start + span, self.stride)) for start in starts.tolist()]


class Task(ABC):
    """One of the readouts."""

    name: str
    """As on the command line."""
    metric: str
    """The figure that training is stopped by, and that tables show."""
    higher_is_better: bool = True
    protocol: ClipSettings = ClipSettings()
    """Clips of the paper."""
    kept: slice = slice(None)
    """Which of a clip's frames the head sees; the encoder sees all."""
    windowed: bool = True
    """Whether clips are windows of videos, `ClipSettings.stride` apart, at most `per_video` of each."""

    def __init__(self, clips: ClipSettings) -> None:
        self.clips = clips
        self._too_short = 0

    def windows(self, count: int) -> list[list[int]]:
        """What `ClipSettings.windows` gives for a video; those that are too short are counted."""
        windows = self.clips.windows(count)
        self._too_short += not windows
        return windows

    @abstractmethod
    def samples(self, split: str) -> Sequence[Sample]:
        """Clips of `train` or `val`.

        Raises:
            ValueError: the folder is not laid out as the task needs it.
            OSError: a file cannot be read.
        """

    @abstractmethod
    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head for features of that width on that grid: maps (features [B, T, N, D], targets) to outputs."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch, a scalar."""

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """What `score` needs of a batch, on the CPU; small, since it is kept for all of a split."""

    @abstractmethod
    def score(self, measured: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """Figures of a whole split, `metric` among them, from what was measured, all batches one after the other."""

    def describe(self) -> dict[str, Any]:
        """What results say of the task beside its clips."""
        return {}

    def remarks(self) -> Sequence[str]:
        """What people should know of the data before they wait for features, once the samples are known."""
        return [f"{self._too_short} videos are shorter than a clip and left out"] if self._too_short else []

    def finish(self, folder: Path, fits: Sequence[Fitted], model: VideoModel, data: str) -> Sequence[str]:
        """Write what the task leaves beside its result.

        Args:
            folder: where; it is there.
            fits: trained heads.
            model: on whose features.
            data: what they were trained on, for people.

        Returns:
            What was done, a line each.

        Raises:
            OSError: it cannot be written.
        """
        return ()


@dataclass(frozen=True)
class Fitted:
    """A readout after its training, with the weights of its best validation."""

    head: nn.Module
    metrics: dict[str, float]
    """Of that validation."""
    step: int
    """When it was."""


def clip_key(name: str, files: Iterable[Path], *said: object) -> str:
    """A sample's key: a name, and what tells it from every other clip of that name.

    Args:
        name: for people.
        files: whose content the frames and targets depend on: with another one comes another key.
        said: what else they depend on.

    Raises:
        OSError: there is no such file.
    """
    digest = hashlib.sha256(repr(said).encode())
    for path in files:
        state = path.stat()
        digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}".encode())
    return f"{file_name(name)}_{digest.hexdigest()[:16]}"


def collate(items: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Batch of clips; where a first axis varies, the shorter are filled up with zeros."""
    batch = {}
    for name in items[0]:
        tensors = [item[name] for item in items]
        if tensors[0].ndim:
            batch[name] = nn.utils.rnn.pad_sequence(tensors, batch_first=True)
        else:
            batch[name] = torch.stack(tensors)
    return batch
