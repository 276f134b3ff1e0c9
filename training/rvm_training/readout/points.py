"""Point tracking: where points go, and when they are hidden.

The paper says of its head: 1024 wide, 8 heads, Fourier codes of 16 bands, 8 queries. We read it so: every point has
8 queries, each of which answers for an eighth of the clip. The loss is TAPIR's.

Shape legend: B clips, P points, T frames, S queries of a point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from rvm_training.data.point_tracks import TrackedVideo, tracked_videos
from rvm_training.evaluation.footage import stretched
from rvm_training.evaluation.tracking_metrics import tapvid
from rvm_training.readout.attentive import AttentiveConfig, AttentiveReadout, fourier
from rvm_training.readout.task import Clip, ClipSettings, Sample, Task, clip_key

BANDS = 16
"""Frequencies of the code of a point's place and time."""
QUERIES = 8
"""Queries S of a point."""
SIDE = 256
"""Pixels across the picture that distances are counted in, as TAP-Vid does."""
HUBER_PIXELS = 4.0
"""Distance at which the loss of a place turns from square to linear (TAPIR)."""
UNSURE_PIXELS = 6.0
"""Beyond this distance a place should be called unsure (TAPIR)."""
PLACE_WEIGHT = 0.05
"""Weight of the loss of places (TAPIR)."""


class PointHead(nn.Module):
    """Eight queries for each point, of its place and time."""

    def __init__(self, dim: int, clips: ClipSettings, width: int, heads: int) -> None:
        super().__init__()
        if clips.frames % QUERIES:
            raise ValueError(f"points: got {clips.frames} frames, expected a multiple of the {QUERIES} queries")
        config = AttentiveConfig(
            dim, 4 * clips.frames // QUERIES, clips.frames, width, heads, queries=0,
            query_dim=3 * (1 + 2 * BANDS) + QUERIES,
        )  # fmt: skip
        self.readout = AttentiveReadout(config)
        self._last = max(clips.frames - 1, 1)

    def forward(self, features: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Place (x, y), logit of being hidden and logit of being unsure [B, P, T, 4].

        Args:
            features: [B, T, N, D].
            targets: `points` [B, P, T, 2] and `query` [B, P], the frame on which each is given.
        """
        points, query = targets["points"], targets["query"]
        start = points.gather(2, query[..., None, None].expand(-1, -1, 1, 2))
        time = (query / self._last)[..., None].to(points.dtype)
        code = fourier(torch.cat([start[:, :, 0], time], -1), BANDS)
        part = torch.eye(QUERIES, dtype=code.dtype, device=code.device).expand(*code.shape[:2], -1, -1)
        code = torch.cat([code[:, :, None].expand(-1, -1, QUERIES, -1), part], -1)
        outputs = self.readout(features, code.flatten(1, 2))
        outputs = outputs.unflatten(1, (-1, QUERIES)).unflatten(-1, (-1, 4)).flatten(2, 3)
        # From where the point was given: what it learns is the way from there.
        return torch.cat([start + outputs[..., :2], outputs[..., 2:]], -1)


class Points(Task):
    """Where points go."""

    name = "points"
    metric = "average Jaccard"

    def __init__(self, root: Path, clips: ClipSettings = Task.protocol, *, width: int = 1024, heads: int = 8) -> None:
        """Read what there is.

        Args:
            root: the dataset's folder.
            clips: what is taken of a video; its frames are stretched to the size.
            width: of the readout.
            heads: of its attention.

        Raises:
            ValueError: see `tracked_videos`.
            OSError: likewise.
        """
        super().__init__(clips)
        self._found = tracked_videos(root)
        self._width, self._heads = width, heads

    def samples(self, split: str) -> Sequence[Sample]:
        """Windows of the videos of a split, those in which a point is seen before the last frame."""
        samples = []
        for video in self._found[split]:
            for window in self.windows(video.points.shape[1]):
                if video.visible[:, window[:-1]].any():
                    key = clip_key(video.name, video.files, window)
                    samples.append(Sample(key, partial(self._read, video, window)))
        return samples

    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head."""
        return PointHead(dim, self.clips, self._width, self._heads)

    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """TAPIR's: Huber of the places that are seen, and cross-entropy of being hidden and of being unsure."""
        visible = targets["visible"]
        counted = _counted(visible, targets["query"])
        seen = counted & visible
        if not counted.any():
            return outputs.sum() * 0
        hidden = functional.binary_cross_entropy_with_logits(
            outputs[..., 2][counted], (~visible[counted]).to(outputs.dtype)
        )
        # Chosen before the distance: elsewhere the truth may be anything.
        away = (outputs[..., :2][seen] - targets["points"][seen]).norm(dim=-1) * SIDE
        if not len(away):
            return hidden
        unsure = (away.detach() > UNSURE_PIXELS).to(outputs.dtype)
        doubt = functional.binary_cross_entropy_with_logits(outputs[..., 3][seen], unsure)
        place = functional.huber_loss(away, torch.zeros_like(away), delta=HUBER_PIXELS)
        return PLACE_WEIGHT * place + hidden + doubt

    def measure(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Figures of TAP-Vid of every clip, and the average Jaccard of points that stay."""
        rows: list[dict[str, float]] = []
        hidden = 1 - torch.sigmoid(-outputs[..., 2:]).prod(-1) >= 0.5  # Hidden or unsure.
        for places, lost, true, visible, query in zip(
            outputs[..., :2], hidden, targets["points"], targets["visible"], targets["query"], strict=True
        ):
            mine = visible.any(1)  # The others fill the batch up.
            first = true[mine].gather(1, query[mine][:, None, None].expand(-1, 1, 2)).expand_as(true[mine])
            given = query[mine], true[mine] * SIDE, ~visible[mine]
            found = tapvid(*given, places[mine] * SIDE, lost[mine])
            stays = tapvid(*given, first * SIDE, torch.zeros_like(lost[mine]))
            rows.append(found | {"average Jaccard of points that stay": stays["average_jaccard"]})
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def score(self, measured: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """Means over the clips, as TAP-Vid's over videos."""
        stays = "average Jaccard of points that stay"
        return {
            "average Jaccard": float(np.nanmean(measured["average_jaccard"])),
            "points within": float(np.nanmean(measured["average_pts_within_thresh"])),
            "occlusion accuracy": float(np.nanmean(measured["occlusion_accuracy"])),
            stays: float(np.nanmean(measured[stays])),
        }

    def describe(self) -> dict[str, Any]:
        """The readout's sizes."""
        return {"width": self._width, "heads": self._heads, "queries": QUERIES}

    def _read(self, video: TrackedVideo, window: Sequence[int]) -> Clip:
        points, visible = video.points[:, window], video.visible[:, window]
        mine = visible[:, :-1].any(1)
        points, visible = np.where(visible[mine][..., None], points[mine], 0), visible[mine]
        frames = np.stack([stretched(frame, self.clips.size) for frame in video.read(window)])
        # Given where each is seen first, as TAP-Vid's mode `first`.
        return Clip(frames, {"points": points, "visible": visible, "query": visible.argmax(1)})


def _counted(visible: Tensor, query: Tensor) -> Tensor:
    """Frames that are scored [B, P, T]: those after the query, of points that there are."""
    time = torch.arange(visible.shape[-1], device=visible.device)
    return (time > query[..., None]) & visible.any(-1, keepdim=True)
