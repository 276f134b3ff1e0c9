"""Box tracking: where the objects of the first frame are in the others.

Shape legend: B clips, P boxes, T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn import functional

from rvm_training.data.box_tracks import Segment, read_boxes, read_images, segments
from rvm_training.evaluation.footage import stretched
from rvm_training.evaluation.tracking_metrics import box_iou
from rvm_training.readout.attentive import AttentiveConfig, AttentiveReadout, fourier
from rvm_training.readout.task import Clip, ClipSettings, Sample, Task, clip_key

BANDS = 4
"""Frequencies of the code of a box. The paper does not say; the 16 of its points tell clips apart by heart here."""
SMALLEST = 0.005
"""Share of the picture that a box must cover on the first frame to be followed, as in SAVi++."""


class BoxHead(nn.Module):
    """One query for each box, of its place on the first frame; it gives the way from there on every frame."""

    def __init__(self, dim: int, clips: ClipSettings, width: int, heads: int) -> None:
        super().__init__()
        config = AttentiveConfig(
            dim, 4 * clips.frames, clips.frames, width, heads, queries=0, query_dim=4 * (1 + 2 * BANDS)
        )
        self.readout = AttentiveReadout(config)

    def forward(self, features: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Boxes [B, P, T, 4] of features [B, T, N, D] and the `boxes` of the first frame."""
        first = targets["boxes"][:, :, 0]
        return first[:, :, None] + self.readout(features, fourier(first, BANDS)).unflatten(-1, (-1, 4))


class Boxes(Task):
    """Where boxes go."""

    name = "boxes"
    metric = "mIoU"
    protocol = ClipSettings(size=(256, 256))

    def __init__(self, root: Path, clips: ClipSettings = protocol, *, width: int = 1024, heads: int = 4) -> None:
        """Read what there is.

        Args:
            root: the dataset's folder.
            clips: what is taken of a video; its frames are stretched to the size.
            width: of the readout.
            heads: of its attention.

        Raises:
            ValueError: see `segments`.
            OSError: likewise.
        """
        super().__init__(clips)
        self._found = segments(root)
        self._width, self._heads = width, heads

    def samples(self, split: str) -> Sequence[Sample]:
        """Windows of the segments of a split, those with a box to follow."""
        samples = []
        for segment in self._found[split]:
            height, width = read_images(segment, segment.times[:1])[0].shape[:2]
            tracks = [box / [width, height, width, height] for box in read_boxes(segment, segment.times).values()]
            for window in self.windows(len(segment.times)):
                times = [segment.times[index] for index in window]
                boxes = [track[window] for track in tracks]
                followed = [box for box in boxes if (box[0, 2:] - box[0, :2]).prod() >= SMALLEST]  # NaN is not.
                if followed:
                    key = clip_key(segment.boxes.stem, [segment.images, segment.boxes], times, SMALLEST)
                    samples.append(Sample(key, partial(self._read, segment, times, np.stack(followed))))
        return samples

    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head."""
        return BoxHead(dim, self.clips, self._width, self._heads)

    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Mean absolute error of the sides, as shares of the picture, where there is a box."""
        counted = _counted(targets["labelled"])
        if not counted.any():
            return outputs.sum() * 0
        return functional.l1_loss(outputs[counted], targets["boxes"][counted])

    def measure(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Of every box on every later frame the overlap of what was found, and of the box of the first frame."""
        counted = _counted(targets["labelled"])
        true = targets["boxes"][counted].numpy()
        stays = targets["boxes"][:, :, :1].expand_as(targets["boxes"])[counted].numpy()
        return {"found": box_iou(true, outputs[counted].numpy()), "stays": box_iou(true, stays)}

    def score(self, measured: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """Mean overlap, and that of boxes that stay where they were on the first frame."""
        return {
            "mIoU": float(np.mean(measured["found"])),
            "mIoU of boxes that stay": float(np.mean(measured["stays"])),
            "boxes": float(len(measured["found"])),
        }

    def describe(self) -> dict[str, Any]:
        """The readout's sizes and the smallest box."""
        return {"width": self._width, "heads": self._heads, "smallest box": SMALLEST}

    def _read(self, segment: Segment, times: Sequence[int], boxes: npt.NDArray[np.float64]) -> Clip:
        frames = np.stack([stretched(frame, self.clips.size) for frame in read_images(segment, times)])
        labelled = np.asarray(~np.isnan(boxes).any(-1))
        return Clip(frames, {"boxes": np.nan_to_num(boxes).astype(np.float32), "labelled": labelled})


def _counted(labelled: Tensor) -> Tensor:
    """Boxes that are scored [B, P, T]: all but the first frame's, which were given."""
    counted = labelled.clone()
    counted[:, :, 0] = False
    return counted
