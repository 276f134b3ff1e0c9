"""Action classification: the whole clip has one class. Folders of Something-Something v2 and Kinetics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rvm_training.data.layouts import videos_below
from rvm_training.data.video import probe, read_frames
from rvm_training.evaluation.footage import fitted
from rvm_training.evaluation.tracking_metrics import top_k
from rvm_training.readout.attentive import AttentiveConfig, AttentiveReadout
from rvm_training.readout.task import PROTOCOL, Clip, ClipSettings, Sample, Task

SPLITS = {"train": ("train",), "val": ("val", "validate", "validation")}
"""Split to the names that datasets give it."""


@dataclass(frozen=True)
class LabelledVideos:
    """Videos with a class each."""

    classes: tuple[str, ...]
    videos: Mapping[str, tuple[tuple[Path, int], ...]]
    """Split to (file, index of its class)."""


def labelled_videos(root: Path) -> LabelledVideos:
    """Read a folder of Something-Something v2 (labels.json, train.json, validation.json) or Kinetics (class folders).

    Raises:
        ValueError: it is neither, or lacks a split.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"classification: no folder at {root}")
    found = _something(root) if any(root.rglob("labels.json")) else _kinetics(root)
    for split, videos in found.videos.items():
        if not videos:
            raise ValueError(
                f"{root}: got no labelled video of {split}, expected Something-Something v2 (labels.json, train.json, "
                "validation.json and videos) or Kinetics (train/CLASS/*.mp4 and val/CLASS/*.mp4)"
            )
    return found


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

    def __init__(self, root: Path, clips: ClipSettings = PROTOCOL, *, width: int = 768, heads: int = 12) -> None:
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
            # Files of one name may lie in several folders.
            key = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
            samples.append(Sample(key, partial(self._read, path, label)))
        return samples

    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head."""
        return ActionHead(AttentiveConfig(dim, len(self.classes), self.clips.frames, self._width, self._heads))

    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets["label"])

    def score(self, outputs: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Share of clips whose class has the highest score, and is among the five highest; and that of guessing."""
        scores, labels = torch.cat(list(outputs)).numpy(), torch.cat([each["label"] for each in targets]).numpy()
        return {
            "top-1": top_k(labels, scores, 1),
            "top-5": top_k(labels, scores, 5),
            "most frequent class": float(np.bincount(labels).max() / len(labels)),
        }

    def describe(self) -> dict[str, Any]:
        """The readout's sizes and the classes' number."""
        return {"width": self._width, "heads": self._heads, "classes": len(self.classes)}

    def _read(self, path: Path, label: int) -> Clip:
        count, fps = probe(str(path))
        indices = np.linspace(0, count - 1, self.clips.frames).round().astype(int).tolist()
        frames = read_frames(str(path), indices, fps)
        return Clip(np.stack([fitted(frame, self.clips.size) for frame in frames]), {"label": np.array(label)})


def _something(root: Path) -> LabelledVideos:
    videos = {path.stem: path for path in videos_below(root)}
    numbers = {name: int(index) for name, index in _json(next(iter(sorted(root.rglob("labels.json"))))).items()}
    classes = tuple(sorted(numbers, key=numbers.__getitem__))
    if sorted(numbers.values()) != list(range(len(classes))):
        raise ValueError(f"{root}: got classes {sorted(numbers.values())} in labels.json, expected 0, 1, 2, ...")
    found: dict[str, tuple[tuple[Path, int], ...]] = {}
    for split, word in (("train", "train"), ("val", "validation")):
        files = sorted(root.rglob(f"*{word}.json"))
        items = _json(files[0]) if files else []
        # "Moving [something] up" of a clip is the class "Moving something up".
        named = [(str(item["id"]), str(item["template"]).replace("[", "").replace("]", "")) for item in items]
        if unknown := {name for _, name in named if name not in numbers}:
            raise ValueError(f"{files[0]}: got the class {min(unknown)!r}, expected one of those in labels.json")
        found[split] = tuple((videos[key], numbers[name]) for key, name in named if key in videos)
    return LabelledVideos(classes, found)


def _kinetics(root: Path) -> LabelledVideos:
    by_split: dict[str, list[tuple[Path, str]]] = {split: [] for split in SPLITS}
    for path in sorted(videos_below(root)):
        parts = path.relative_to(root).parts
        for split, names in SPLITS.items():
            if len(parts) > 2 and parts[-3] in names:
                by_split[split].append((path, parts[-2]))
    classes = tuple(sorted({name for videos in by_split.values() for _, name in videos}))
    numbers = {name: index for index, name in enumerate(classes)}
    return LabelledVideos(
        classes, {split: tuple((path, numbers[name]) for path, name in videos) for split, videos in by_split.items()}
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error})") from error
