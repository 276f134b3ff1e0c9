"""Samples and batches. A sample is a pure function of (seed, its index), and its index one of the training step.

So the order does not depend on the number of processes or workers, and a run resumes exactly from the step alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rvm_model.preprocess import resize
from rvm_training.data.crop import CropConfig, centre_crop, draw_crop
from rvm_training.data.frames import FrameSampling
from rvm_training.data.sources import ClipSource
from rvm_training.data.video import VideoError

TRAIN_STREAM, VALIDATION_STREAM, _MASK_STREAM = 0, 1, 2
"""Parts of the seed, so that the streams never share random numbers."""


@dataclass(frozen=True)
class Sample:
    """One clip, ready for the network but for its size."""

    index: int
    frames: Tensor | None
    """uint8 [S + T, h, w, 3] after crop and flip; None for a clip that could not be decoded, and for none at all."""
    deltas: Tensor
    """int64 [T]."""
    permutation: Tensor
    """int64 [T, N], the order of each target's patches; the first ones are visible."""
    problem: str | None = None
    """Why there are no frames."""


@dataclass(frozen=True)
class Batch:
    """Clips of one micro-batch on one device."""

    frames: list[Tensor]
    """Per clip uint8 [S + T, h, w, 3]: of the network's size, or for `resized` to bring there."""
    deltas: Tensor
    """int64 [B, T]."""
    permutation: Tensor
    """int64 [B, T, N]."""
    valid: Tensor
    """float32 [B]: 0 for a clip that has no frames; they are black and must not count."""
    problems: tuple[str, ...]
    """Why clips could not be decoded."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """A copy on a device."""
        return replace(
            self,
            frames=[frames.to(device, non_blocking=non_blocking) for frames in self.frames],
            **{
                name: getattr(self, name).to(device, non_blocking=non_blocking)
                for name in ("deltas", "permutation", "valid")
            },
        )

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory, which a GPU reads without waiting."""
        tensors = {name: getattr(self, name).pin_memory() for name in ("deltas", "permutation", "valid")}
        return replace(self, frames=[frames.pin_memory() for frames in self.frames], **tensors)

    def resized(self, size: tuple[int, int]) -> Tensor:
        """All clips at one size, where they are: uint8 [B, S + T, height, width, 3]."""
        return torch.stack([resize(frames, *size) for frames in self.frames])


class ClipDataset(Dataset[Sample]):
    """Samples by index: without end, or with empty ones after a number of them."""

    def __init__(
        self,
        source: ClipSource,
        *,
        seed: int,
        stream: int,
        sampling: FrameSampling,
        patches: int,
        crop: CropConfig | tuple[int, int],
        resize_to: tuple[int, int] | None,
        mask_group: int | None,
        count: int | None = None,
    ) -> None:
        """Make samples of a source.

        Args:
            source: where clips are drawn.
            seed: of the run.
            stream: TRAIN_STREAM or VALIDATION_STREAM.
            sampling: how many targets there are.
            patches: N, patches of a frame.
            crop: random crop and flip; or a size, to take the largest box of its shape from the centre.
            resize_to: (height, width) to resize to here; None leaves that to the device.
            mask_group: consecutive samples that share one mask, as the authors' whole batch does; None draws a mask per
                sample and target.
            count: samples from this index on have no frames, to fill a batch up; None makes them without end.
        """
        self._source = source
        self._seed = seed
        self._stream = stream
        self._sampling = sampling
        self._patches = patches
        self._crop = crop
        self._resize_to = resize_to
        self._mask_group = mask_group
        self._count = count

    def __getitem__(self, index: int) -> Sample:
        """The sample of that index; a clip that cannot be decoded comes as a sample with a problem."""
        rng = np.random.default_rng([self._seed, self._stream, index])
        targets = self._sampling.targets
        permutation = self._permutation(index)
        if self._count is not None and index >= self._count:
            return Sample(index, None, torch.zeros(targets, dtype=torch.int64), permutation)
        try:
            drawn = self._source.draw(rng)
        except VideoError as error:
            return Sample(index, None, torch.zeros(targets, dtype=torch.int64), permutation, str(error))
        height, width = drawn.frames.shape[1:3]
        if isinstance(self._crop, CropConfig):
            crop = draw_crop(rng, height, width, self._crop)
        else:
            crop = centre_crop(height, width, self._crop)
        frames = torch.from_numpy(np.ascontiguousarray(crop.apply(drawn.frames)))
        if self._resize_to is not None:
            frames = resize(frames, *self._resize_to).contiguous()
        return Sample(index, frames, torch.tensor(drawn.deltas), permutation)

    def _permutation(self, index: int) -> Tensor:
        targets = self._sampling.targets
        if self._mask_group is not None:
            rng = np.random.default_rng([self._seed, _MASK_STREAM, self._stream, index // self._mask_group])
            return torch.from_numpy(rng.permutation(self._patches)).expand(targets, -1)
        rng = np.random.default_rng([self._seed, _MASK_STREAM, self._stream, index])
        return torch.from_numpy(np.stack([rng.permutation(self._patches) for _ in range(targets)]))


class StepSampler(Sampler[list[int]]):
    """Sample indices of this process's micro-batches, step after step without end.

    Step s of training takes the samples s * G .. (s + 1) * G - 1 of a global batch of G. They are dealt out in order to
    micro-batches and processes, so that any number of processes sees the same global batch.
    """

    def __init__(self, *, first_step: int, micro_batch: int, accumulate: int, rank: int, world_size: int) -> None:
        self._first_step = first_step
        self._micro_batch = micro_batch
        self._accumulate = accumulate
        self._rank = rank
        self._world_size = world_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of one micro-batch after the other."""
        for micro in itertools.count(self._first_step * self._accumulate):
            first = (micro * self._world_size + self._rank) * self._micro_batch
            yield list(range(first, first + self._micro_batch))


def collate(samples: Sequence[Sample], sampling: FrameSampling, size: tuple[int, int]) -> Batch:
    """Make a batch of samples; those without frames get black ones of the network's size."""
    blank = torch.zeros(sampling.sources + sampling.targets, *size, 3, dtype=torch.uint8)
    return Batch(
        frames=[blank if sample.frames is None else sample.frames for sample in samples],
        deltas=torch.stack([sample.deltas for sample in samples]),
        permutation=torch.stack([sample.permutation for sample in samples]),
        valid=torch.tensor([float(sample.frames is not None) for sample in samples]),
        problems=tuple(sample.problem for sample in samples if sample.problem is not None),
    )
