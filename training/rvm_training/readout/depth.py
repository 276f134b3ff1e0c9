"""Monocular depth: metres at every pixel of every frame.

Shape legend: B clips, T frames, H W pixels, t h w a patch of the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from rvm_training.data.depth_videos import DepthVideo, depth_videos, read_depth
from rvm_training.evaluation.footage import fitted, middle
from rvm_training.evaluation.tracking_metrics import absolute_relative
from rvm_training.readout.attentive import AttentiveConfig, AttentiveReadout
from rvm_training.readout.task import Clip, ClipSettings, Sample, Task, clip_key

OUTPUT_PATCH = (2, 8, 8)
"""Frames, rows and columns that one query answers for, as in the authors' depth demo."""
FARTHEST_MM = 10_000
"""Depth beyond this is not known well enough to count."""
NEAREST_M = 1e-3
"""Predictions are at least this."""
_BIN_MM = 10


class DepthHead(nn.Module):
    """A learned query for every patch of the output."""

    def __init__(self, dim: int, clips: ClipSettings, width: int, heads: int) -> None:
        super().__init__()
        sides = (clips.frames, *clips.size)
        if any(side % patch for side, patch in zip(sides, OUTPUT_PATCH, strict=True)):
            raise ValueError(
                f"depth: got {sides[0]} frames of {sides[1]}x{sides[2]}, expected multiples of {OUTPUT_PATCH}"
            )
        self._patches = tuple(side // patch for side, patch in zip(sides, OUTPUT_PATCH, strict=True))
        queries, outputs = int(np.prod(self._patches)), int(np.prod(OUTPUT_PATCH))
        self.readout = AttentiveReadout(AttentiveConfig(dim, outputs, clips.frames, width, heads, queries))

    def forward(self, features: Tensor, _: Mapping[str, Tensor]) -> Tensor:
        """Metres [B, T, H, W] of features [B, T, N, D]."""
        patches: Tensor = self.readout(features).unflatten(1, self._patches).unflatten(-1, OUTPUT_PATCH)
        return patches.permute(0, 1, 4, 2, 5, 3, 6).flatten(1, 2).flatten(2, 3).flatten(3, 4)


class Depth(Task):
    """How far away everything is."""

    name = "depth"
    metric = "AbsRel"
    higher_is_better = False

    def __init__(self, root: Path, clips: ClipSettings = Task.protocol, *, width: int = 1024, heads: int = 16) -> None:
        """Read what there is.

        Args:
            root: the dataset's folder.
            clips: what is taken of a video; the middle of its frames is cut out to the ratio.
            width: of the readout.
            heads: of its attention.

        Raises:
            ValueError: see `depth_videos`.
            OSError: likewise.
        """
        super().__init__(clips)
        self._found = depth_videos(root)
        self._width, self._heads = width, heads

    def samples(self, split: str) -> Sequence[Sample]:
        """Windows of the scans of a split."""
        samples = []
        for video in self._found.videos[split]:
            for window in self.windows(len(video.numbers)):
                pairs = [video.frame(index) for index in window]
                key = clip_key(video.folder.name, (path for pair in pairs for path in pair))
                samples.append(Sample(key, partial(self._read, video, window)))
        return samples

    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head."""
        return DepthHead(dim, self.clips, self._width, self._heads)

    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Mean squared error in metres, where the depth is known."""
        known = _known(targets["depth_mm"])
        if not known.any():
            return outputs.sum() * 0
        return functional.mse_loss(outputs[known], targets["depth_mm"][known] / 1000)

    def measure(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Of every clip the AbsRel, the share within a quarter of the truth, and how often each depth occurs."""
        relative, close, counts = [], [], []
        for found, true_mm in zip(outputs.clamp(min=NEAREST_M).numpy(), targets["depth_mm"], strict=True):
            known, true = _known(true_mm).numpy(), true_mm.numpy() / 1000
            relative.append(absolute_relative(true, found, known))
            ratio = found[known] / true[known]
            close.append(float(np.mean(np.maximum(ratio, 1 / ratio) < 1.25)) if ratio.size else np.nan)
            count = np.bincount(true_mm.numpy()[known] // _BIN_MM, minlength=FARTHEST_MM // _BIN_MM + 1)
            counts.append(count / max(count.sum(), 1))  # Clips count alike, as in the mean of their AbsRel.
        return {"AbsRel": np.array(relative), "delta1": np.array(close), "counts": np.stack(counts)}

    def score(self, measured: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """Means over the clips, and the AbsRel of the one depth that fits these clips best."""
        counts = measured["counts"].sum(0)
        metres = (np.arange(len(counts)) + 0.5) * _BIN_MM / 1000
        constant = [float((counts * np.abs(each - metres) / metres).sum() / counts.sum()) for each in metres]
        return {
            "AbsRel": float(np.nanmean(measured["AbsRel"])),
            "delta1": float(np.nanmean(measured["delta1"])),
            "AbsRel of the best constant": min(constant),
        }

    def describe(self) -> dict[str, Any]:
        """The readout's sizes and how many scans are missing."""
        return {"width": self._width, "heads": self._heads, "missing": self._found.missing}

    def _read(self, video: DepthVideo, window: Sequence[int]) -> Clip:
        size = self.clips.size
        frames, depths = [], []
        for colour, depth in map(video.frame, window):
            with Image.open(colour) as image:
                frames.append(fitted(np.asarray(image.convert("RGB")), size))
            depths.append(_nearest(read_depth(depth), size))
        # 16 bits are enough, and torch counts with signed ones.
        return Clip(np.stack(frames), {"depth_mm": np.minimum(np.stack(depths), FARTHEST_MM + 1).astype(np.int16)})


def _known(depth_mm: Tensor) -> Tensor:
    return (depth_mm > 0) & (depth_mm <= FARTHEST_MM)


def _nearest(depth: npt.NDArray[np.uint16], size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """The nearest pixels of the middle: a mean of two depths is one that is nowhere."""
    left, top, right, bottom = middle(depth.shape[:2], size)
    rows = (top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0]).astype(int)
    columns = (left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]).astype(int)
    return depth[rows[:, None], columns]
