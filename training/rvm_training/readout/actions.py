"""Action classification: the whole clip has one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn import functional

from rvm_training.data.labelled import labelled_videos
from rvm_training.evaluation.footage import spread_frames
from rvm_training.evaluation.tracking_metrics import top_k
from rvm_training.readout.attentive import AttentiveConfig, AttentiveReadout
from rvm_training.readout.task import Clip, ClipSettings, Sample, Task, clip_key


class ActionHead(nn.Module):
    """One learned query, whose output are the classes' logits."""

    def __init__(self, config: AttentiveConfig) -> None:
        super().__init__()
        self.readout = AttentiveReadout(config)

    def forward(self, features: Tensor, _: Mapping[str, Tensor]) -> Tensor:
        """Logits [B, classes] of features [B, T, N, D]."""
        logits: Tensor = self.readout(features)[:, 0]
        return logits


class Classification(Task):
    """Which of the classes a clip is."""

    name = "classification"
    metric = "top-1"
    windowed = False

    def __init__(self, root: Path, clips: ClipSettings = Task.protocol, *, width: int = 768, heads: int = 12) -> None:
        """Read what there is.

        Args:
            root: the dataset's folder.
            clips: what is taken of a video; its frames are spread over all of it.
            width: of the readout, the protocol's for Something-Something.
            heads: of its attention.

        Raises:
            ValueError: see `labelled_videos`.
            OSError: likewise.
        """
        super().__init__(clips)
        self._found = labelled_videos(root)
        self._width, self._heads = width, heads

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._found.classes

    def samples(self, split: str) -> Sequence[Sample]:
        """Clips of a split."""
        samples = []
        for path, label in self._found.videos[split]:
            # The same file with another class is another clip.
            samples.append(
                Sample(clip_key(path.stem, [path], self.classes[label], label), partial(self._read, path, label))
            )
        return samples

    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head."""
        return ActionHead(AttentiveConfig(dim, len(self.classes), self.clips.frames, self._width, self._heads))

    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets["label"])

    def measure(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Scores and labels."""
        return {"scores": outputs.numpy(), "labels": targets["label"].numpy()}

    def score(self, measured: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """Share of clips whose class has the highest score, and is among the five highest; and that of guessing."""
        scores, labels = measured["scores"], measured["labels"]
        return {
            "top-1": top_k(labels, scores, 1),
            "top-5": top_k(labels, scores, 5),
            "most frequent class": float(np.bincount(labels).max() / len(labels)),
        }

    def describe(self) -> dict[str, Any]:
        """The readout's sizes and the classes' number."""
        return {
            "width": self._width,
            "heads": self._heads,
            "classes": len(self.classes),
            "missing": self._found.missing,
        }

    def _read(self, path: Path, label: int) -> Clip:
        return Clip(spread_frames(path, self.clips.frames, self.clips.size), {"label": np.array(label)})
