"""Features of a split, computed once: a file for each clip, beside what is to be read from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from rvm_training.evaluation.models import VideoModel
from rvm_training.readout.task import Clip, Sample, Task

FEATURES = "features"
AT_ONCE = 8
"""Clips computed side by side: small frames alone leave most of a processor idle."""
MAX_BAD_SHARE = 0.1
"""Share of a split's clips that may be unusable; more is a mistake in the data."""


@dataclass(frozen=True)
class Cached:
    """A split whose features lie on the disk."""

    files: tuple[Path, ...]
    """One for each clip that could be used."""
    refused: tuple[str, ...]
    """Why the others could not."""


def cache_features(
    model: VideoModel,
    task: Task,
    split: str,
    samples: Sequence[Sample],
    folder: Path,
    *,
    batch: int = AT_ONCE,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Cached:
    """Compute what is not there yet.

    Args:
        model: the frozen encoder, for frames of the task's size.
        task: what the clips are for.
        split: name of the split.
        samples: its clips.
        folder: of all caches; each model, task and setting has a folder of its own in it.
        batch: clips that go through the model side by side.
        progress: passes the samples through.

    Raises:
        ValueError: the task's settings make no head, no clip, two of one name, or more unusable ones than a tenth.
        OSError: the cache cannot be written.
    """
    if not samples:
        why = f" of videos of at least {task.clips.span} frames; smaller frames or stride?" if task.windowed else ""
        raise ValueError(f"{task.name}: got no clip in {split}, expected some{why}")
    if len({sample.key for sample in samples}) != len(samples):
        raise ValueError(f"{task.name}: got clips of the same name in {split}, expected each once")
    task.head(1, (1, 1))  # What it refuses is told before hours of features.
    place = folder / _identity(model, task) / split
    place.mkdir(parents=True, exist_ok=True)
    done: dict[str, Path] = {}
    refused: list[str] = []

    def compute(waiting: Sequence[tuple[Sample, Clip]]) -> None:
        features = model.features_of_several([clip.frames for _, clip in waiting]) if waiting else []
        for (sample, clip), maps in zip(waiting, features, strict=True):
            # Half precision: rounding is far below what tells clips apart, and halves the disk.
            kept = maps[task.kept].flatten(1, 2).half().cpu().contiguous()
            if not kept.isfinite().all():
                refused.append(f"{sample.key}: its features are not finite in half precision")
                continue
            done[sample.key] = place / f"{sample.key}.safetensors"
            _write(
                done[sample.key], {FEATURES: kept} | {name: torch.tensor(each) for name, each in clip.targets.items()}
            )

    waiting: list[tuple[Sample, Clip]] = []
    for sample in progress(samples):
        path = place / f"{sample.key}.safetensors"
        if path.exists():
            done[sample.key] = path
            continue
        try:
            clip = sample.read()
            model.check(clip.frames)
        except (ValueError, OSError) as error:
            refused.append(f"{sample.key}: {error}")
            continue
        waiting.append((sample, clip))
        if len(waiting) == batch:
            compute(waiting)
            waiting = []
    compute(waiting)
    files = tuple(done[sample.key] for sample in samples if sample.key in done)
    if not files or len(refused) > MAX_BAD_SHARE * len(samples):
        first = f"; the first: {refused[0]}" if refused else ""
        raise ValueError(f"{task.name}: got {len(refused)} unusable clips of {len(samples)} in {split}{first}")
    return Cached(files, tuple(refused))


class FeatureClips(Dataset[dict[str, Tensor]]):
    """Clips of a cache: `features` float32 [T, N, D] and the targets."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._files)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One clip."""
        tensors = load_file(self._files[index])
        return {**tensors, FEATURES: tensors[FEATURES].float()}


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error}") from error


def _identity(model: VideoModel, task: Task) -> str:
    """Name of the folder: another one for whatever changes the features; the clips' keys tell the rest."""
    clips = task.clips.frames, task.clips.size, str(task.kept)
    said = {"model": asdict(model.info) | {"name": ""}, "task": task.name, "clips": clips}
    text = json.dumps(said, sort_keys=True, default=str)
    return f"{task.name}_{model.info.file_name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
