"""What a readout is trained for: clips with targets, a head, a loss and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

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


PROTOCOL = ClipSettings()
"""Clips of the protocol."""


class Task(ABC):
    """One of the readouts."""

    name: str
    """As on the command line."""
    metric: str
    """The figure that training is stopped by, and that tables show."""
    higher_is_better: bool = True

    def __init__(self, clips: ClipSettings) -> None:
        self.clips = clips

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
    def score(self, outputs: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Figures of a whole split, `metric` among them, from the batches' outputs and targets on the CPU."""

    def describe(self) -> dict[str, Any]:
        """What results say of the task beside its clips."""
        return {}


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
