"""Semantic segmentation: the class of every pixel, by the head that the live node runs.

Not the attentive readout: a layer norm and a linear layer on each token of the newest frame, which costs the robot next
to nothing. Frames are stretched to the model's size as the node does, by the same function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional

from rvm_model.heads.clusters import labels_at
from rvm_model.heads.readout import ReadoutConfig, ReadoutLabels, SegmentationReadout, save_readout
from rvm_model.preprocess import as_tensor, resize
from rvm_training.data.labels import IGNORE, Picture, picture_files, read_labelled
from rvm_training.data.layouts import hashed_splits
from rvm_training.evaluation.models import VideoModel
from rvm_training.readout.task import Clip, ClipSettings, Fitted, Sample, Task, clip_key

VAL_SHARE = 0.2
"""Share of pictures that are held out, where the dataset has no splits."""
MANY_FOLDERS = 5
"""From as many folders on, whole folders are held out; else the end of those with numbered frames."""
LOSS_STEP = 4
"""The loss looks at every fourth pixel of rows and columns."""
Context = Literal["still", "video"]


class TokenHead(nn.Module):
    """The node's head on the last frame."""

    def __init__(self, config: ReadoutConfig, grid: tuple[int, int]) -> None:
        super().__init__()
        self.readout = SegmentationReadout(config)
        self._grid = grid

    def forward(self, features: Tensor, _: Mapping[str, Tensor]) -> Tensor:
        """Logits [B, h, w, K] of features [B, T, N, D]."""
        logits: Tensor = self.readout(features[:, -1]).unflatten(1, self._grid)
        return logits


class Segmentation(Task):
    """What every pixel is."""

    name = "segmentation"
    metric = "mIoU"
    protocol = ClipSettings(frames=4, size=(256, 256))
    kept = slice(-1, None)
    windowed = False

    def __init__(
        self, root: Path, clips: ClipSettings = protocol, *, context: Context = "still", hidden: int = 0
    ) -> None:
        """Read what there is.

        Args:
            root: folder of pictures and labels; see `read_labelled`.
            clips: how many frames the encoder sees, the labelled one last, and their size.
            context: `still` shows the labelled picture again and again, as a camera that stands still would; `video`
                shows the pictures before it in its folder, which must be frames in order.
            hidden: width of a hidden layer; 0 has none.

        Raises:
            ValueError: see `read_labelled`, or a split is empty.
            OSError: likewise.
        """
        super().__init__(clips)
        self._found = found = read_labelled(root)
        if len(found.names) < 2:
            raise ValueError(f"{root}: got the classes {list(found.names)}, expected two or more")
        self.labels = ReadoutLabels(found.names, found.colours, found.ids)
        self._context, self._hidden = context, hidden
        self._before = _before(root, clips.frames - 1) if context == "video" else {}
        self._splits = _divided(found.pictures, root)
        for split in ("train", "val"):
            if split not in self._splits.values():
                got = {each: list(self._splits.values()).count(each) for each in set(self._splits.values())}
                raise ValueError(f"{root}: got pictures of {got or 'no split'}, expected some of train and of val")

    def samples(self, split: str) -> Sequence[Sample]:
        """Labelled pictures of a split."""
        said = self._found.names, self._found.ids, self._found.colours
        return [
            Sample(
                clip_key(picture.path.stem, [*self._shown(picture), picture.source], said),
                partial(self._read, picture),
            )
            for picture in self._found.pictures
            if self._splits[picture.path] == split
        ]

    def head(self, dim: int, grid: tuple[int, int]) -> nn.Module:
        """A new head."""
        return TokenHead(ReadoutConfig(dim, len(self._found.names), self._hidden), grid)

    def loss(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the pixels that count, the logits resized bilinearly."""
        labels = targets["labels"][:, LOSS_STEP // 2 :: LOSS_STEP, LOSS_STEP // 2 :: LOSS_STEP].long()
        if (labels == IGNORE).all():
            return outputs.sum() * 0
        logits = functional.interpolate(outputs.permute(0, 3, 1, 2), labels.shape[1:], mode="bilinear")
        return functional.cross_entropy(logits, labels, ignore_index=IGNORE)

    def measure(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Pixels of the batch by true and found class [1, K, K], the labels those that the node would publish."""
        classes = outputs.shape[-1]
        counts = []
        for logits, labels in zip(outputs, targets["labels"], strict=True):
            true, found = labels.numpy(), labels_at(logits, *labels.shape).numpy()
            keep = true != IGNORE
            pairs = true[keep].astype(np.int64) * classes + found[keep]
            counts.append(np.bincount(pairs, minlength=classes**2).reshape(classes, classes))
        return {"counts": np.sum(counts, axis=0)[None]}

    def score(self, measured: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """IoU of each class that occurs or was found, their mean, the share of right pixels, and guessing's mIoU."""
        counts = measured["counts"].sum(0)
        true, found, right = counts.sum(1), counts.sum(0), counts.diagonal()
        either = true + found - right
        overlap = np.divide(right, either, out=np.full(len(right), np.nan), where=either > 0)
        occurs = max(np.count_nonzero(true), 1)
        figures = {
            "mIoU": float(np.nanmean(overlap)),
            "pixel accuracy": float(right.sum() / counts.sum()),
            "mIoU of the most frequent class": float(true.max() / true.sum() / occurs),
        }
        return figures | {f"IoU {name}": float(each) for name, each in zip(self._found.names, overlap, strict=True)}

    def describe(self) -> dict[str, Any]:
        """How frames are shown, the head's size and what was left out."""
        return {
            "context": self._context,
            "hidden": self._hidden,
            "classes": len(self._found.names),
            "left out": dict(self._found.left_out),
        }

    def remarks(self) -> Sequence[str]:
        """How many pictures there are, and what was left out."""
        splits = list(self._splits.values())
        used = ", ".join(f"{splits.count(split)} {split}" for split in dict.fromkeys(splits))
        left_out = [f"{count} {what} left out" for what, count in self._found.left_out.items()]
        return [*super().remarks(), f"pictures: {used}; classes: {', '.join(self._found.names)}", *left_out]

    def finish(self, folder: Path, fits: Sequence[Fitted], model: VideoModel, data: str) -> Sequence[str]:
        """Write the best of the trained heads as a file for the node, if the node runs the model."""
        if model.info.kind != "recurrent":
            return [f"{model.info.name} is {model.info.kind}: the node does not run it, and no head is written"]
        head = max(fits, key=lambda each: each.metrics[self.metric]).head
        assert isinstance(head, TokenHead)
        path = folder / f"{self.name}_{model.info.file_name}.safetensors"
        save_readout(
            path, head.readout, self.labels, weights=model.info.weights, image_size=self.clips.size, trained_on=data
        )
        return [f"{path}: for the node, segmentation:=readout readout:={path}"]

    def _read(self, picture: Picture) -> Clip:
        pictures = [_rgb(path) for path in self._shown(picture)]
        frames = torch.stack([resize(as_tensor(each), *self.clips.size) for each in pictures]).numpy()
        labels = picture.labels(pictures[-1].shape[:2])
        rows, columns = (
            ((np.arange(side) + 0.5) * whole / side).astype(int)
            for side, whole in zip(self.clips.size, labels.shape, strict=True)
        )
        return Clip(frames, {"labels": labels[rows[:, None], columns].astype(np.int32)})

    def _shown(self, picture: Picture) -> list[Path]:
        """What the encoder sees, the labelled picture last; at the beginning of a folder its first picture is held."""
        before = [*self._before.get(picture.path, ()), picture.path]
        return [before[0]] * (self.clips.frames - len(before)) + before


def _divided(pictures: Sequence[Picture], root: Path) -> dict[Path, str]:
    """Split of every picture: the dataset's, else of folders, of the end of frames, or of single pictures."""
    splits = {picture.path: picture.split for picture in pictures if picture.split is not None}
    if "val" not in splits.values():  # Of those to train on some are held out.
        splits = {path: split for path, split in splits.items() if split != "train"}
    undecided = {picture.path for picture in pictures} - splits.keys()
    others = [path for path in picture_files(root) if path in undecided]
    folders: dict[Path, list[Path]] = {}
    for path in others:
        folders.setdefault(path.parent, []).append(path)
    # Frames of one video are alike: they are not divided one by one.
    if len(folders) >= MANY_FOLDERS:
        chosen = hashed_splits((str(folder.relative_to(root)) for folder in folders), VAL_SHARE)
        return splits | {path: chosen[str(path.parent.relative_to(root))] for path in others}
    for mine in folders.values():
        if len({re.sub(r"\d+", "0", path.stem) for path in mine}) == 1:
            first = min(round(len(mine) * (1 - VAL_SHARE)), max(len(mine) - 1, 1))
            splits |= {path: "val" if index >= first else "train" for index, path in enumerate(mine)}
        else:
            chosen = hashed_splits((str(path.relative_to(root)) for path in mine), VAL_SHARE)
            splits |= {path: chosen[str(path.relative_to(root))] for path in mine}
    return splits


def _before(root: Path, most: int) -> dict[Path, tuple[Path, ...]]:
    """The last pictures before each in its folder, in order of their names."""
    folders: dict[Path, list[Path]] = {}
    before = {}
    for path in picture_files(root):
        folder = folders.setdefault(path.parent, [])
        before[path] = tuple(folder[max(len(folder) - most, 0) :])
        folder.append(path)
    return before


def _rgb(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))  # Upright, as it was labelled.
