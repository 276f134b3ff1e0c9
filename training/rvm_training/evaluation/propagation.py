"""Label propagation on DAVIS, JHMDB and VIP: the authors' protocol, for any model.

Only the first frame's labels are given; nothing is trained. Departs from the evaluation notebook in what changes no
figure: features are searched in windows (`rvm_model.heads.nearest`), and metrics count instead of listing. The objects
of a DAVIS sequence are those of its first mask, as in davis2017-evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from rvm_model.heads.propagation import propagate_labels
from rvm_training.evaluation.datasets import Frames, MaskVideo, PoseVideo
from rvm_training.evaluation.label_maps import labels_to_masks, labels_to_poses, mask_to_labels, pose_to_labels
from rvm_training.evaluation.metrics import Statistics, boundary_f, confusion, iou_of, jaccard, pck, statistics
from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.result import Result
from rvm_training.mask_files import save_mask

PCK_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of a person's size that JHMDB is scored at."""
VIP_CLASSES = (
    "background", "hat", "hair", "sun-glasses", "upper-clothes", "dress", "coat", "socks", "pants", "gloves", "scarf",
    "skirt", "torso-skin", "face", "right-arm", "left-arm", "right-leg", "left-leg", "right-shoe", "left-shoe",
)  # fmt: skip
"""Names of VIP's labels, in order."""


@dataclass(frozen=True)
class Protocol:
    """Settings of a benchmark; the defaults of DAVIS."""

    size: tuple[int, int] = (480, 880)
    """Rows and columns that frames are resized to."""
    context: int = 20
    """Last frames that are searched, beside the first."""
    temperature: float = 0.7
    """Divides the cosine similarities."""
    top_k: int = 7
    """Most similar patches that give a patch its label."""
    radius: float = 20
    """Distance in patches that the last frames are searched within."""


DAVIS = Protocol()
JHMDB = Protocol(size=(320, 320))
STAYS = "J&F of masks that stay"
"""Name of the figure of `stays` in results."""
VIP = Protocol(size=(448, 880), top_k=10)


def resized(frames: Frames, size: tuple[int, int]) -> Frames:
    """Frames [T, H, W, 3] at another size, by Pillow's Lanczos as the notebook's (mediapy's) resize."""
    if frames.shape[1:3] == size:
        return frames
    lanczos = Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(frame).resize(size[::-1], lanczos)) for frame in frames])


def propagate_masks(
    model: VideoModel, frames: Frames, first_mask: npt.NDArray[np.integer], protocol: Protocol
) -> npt.NDArray[np.int32]:
    """Propagate the first frame's mask through a video.

    Args:
        model: for frames of the protocol's size.
        frames: RGB [T, H, W, 3] of any size.
        first_mask: labels [H, W].
        protocol: settings.

    Returns:
        Labels int32 [T, H, W]; the first frame's are propagated from itself.
    """
    return masks_by_features(model.features(resized(frames, protocol.size)), first_mask, protocol)


def masks_by_features(
    features: torch.Tensor, first_mask: npt.NDArray[np.integer], protocol: Protocol
) -> npt.NDArray[np.int32]:
    """As `propagate_masks`, from features [T, h, w, D] of frames of the protocol's size."""
    rows, columns = features.shape[1:3]
    labels, values = mask_to_labels(first_mask, (rows, columns), protocol.size)
    scores = _propagated(features, labels, protocol)
    height, width = first_mask.shape
    return labels_to_masks(scores, values, protocol.size, (height, width))


def _propagated(features: torch.Tensor, labels: npt.NDArray[np.float32], protocol: Protocol) -> torch.Tensor:
    return propagate_labels(
        features,
        torch.from_numpy(labels).to(features.device),
        context=protocol.context,
        temperature=protocol.temperature,
        top_k=protocol.top_k,
        radius=protocol.radius,
    )


@dataclass(frozen=True)
class ObjectScore:
    """J and F of one object of one sequence."""

    sequence: str
    object: int
    j: Statistics
    f: Statistics


def score_objects(name: str, gt: npt.NDArray[np.integer], pred: npt.NDArray[np.integer]) -> Iterator[ObjectScore]:
    """Score a sequence as davis2017-evaluation: every object of the first mask, without the first and last frame.

    Args:
        name: of the sequence.
        gt: true labels [T, H, W], 0 for background.
        pred: predicted labels [T, H, W].

    Raises:
        ValueError: shapes differ, or there are fewer than three frames.
    """
    if gt.shape != pred.shape or gt.ndim != 3 or len(gt) < 3:
        raise ValueError(f"{name}: got masks {gt.shape} and {pred.shape}, expected equal [T, H, W] of 3 frames or more")
    for index in range(1, int(gt[0].max()) + 1):
        true, found = gt[1:-1] == index, pred[1:-1] == index
        yield ObjectScore(name, index, statistics(jaccard(true, found)), statistics(boundary_f(true, found)))


def summary(scores: Iterable[ObjectScore]) -> dict[str, float]:
    """J&F, and mean, recall and decay of J and F over all objects, in 0..1."""
    scores = list(scores)
    table = {
        f"{letter}-{kind.capitalize()}": float(
            np.mean([getattr(getattr(each, letter.lower()), kind) for each in scores])
        )
        for letter in "JF"
        for kind in ("mean", "recall", "decay")
    }
    return {"J&F-Mean": (table["J-Mean"] + table["F-Mean"]) / 2, **table}


def stays(name: str, gt: npt.NDArray[np.integer]) -> Iterator[ObjectScore]:
    """Score the first mask kept for the whole sequence: what a model has to beat. See `score_objects`."""
    return score_objects(name, gt, np.broadcast_to(gt[0], gt.shape))


Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""Passes the videos through, showing how far it is."""


def evaluate_davis(
    model: VideoModel,
    videos: Iterable[MaskVideo],
    *,
    data: str,
    year: int = 2017,
    protocol: Protocol = DAVIS,
    masks_to: Path | None = None,
    progress: Progress = iter,
) -> Result:
    """DAVIS: J&F of the objects of the first mask.

    Args:
        model: for frames of the protocol's size.
        videos: sequences.
        data: name of the data in the result.
        year: 2017 or 2016, for the result's name.
        protocol: settings.
        masks_to: folder to write the predicted masks to, below the year and the model's name, as
            davis2017-evaluation reads them; None writes none.
        progress: passes the videos through.

    Raises:
        DatasetError: a video cannot be read.
        ValueError: no object anywhere.
    """
    scores: list[ObjectScore] = []
    of_first: list[ObjectScore] = []
    for video in progress(videos):
        frames, gt = video.read()
        pred = propagate_masks(model, frames, gt[0], protocol)
        if masks_to is not None:
            write_masks(masks_to / f"davis-{year}" / model.info.file_name / video.name, video.masks, pred)
        scores += score_objects(video.name, gt, pred)
        of_first += stays(video.name, gt)
    if not scores:
        raise ValueError(f"{data}: got no object in the first mask of any sequence, expected one to follow")
    parts = [
        {"sequence": each.sequence, "object": each.object, "J": asdict(each.j), "F": asdict(each.f)} for each in scores
    ]
    said = {**asdict(protocol), "objects": len(parts)}
    metrics = summary(scores) | {STAYS: summary(of_first)["J&F-Mean"]}
    return Result(f"davis-{year}", model.info, data, said, metrics, parts)


def evaluate_vip(
    model: VideoModel, videos: Iterable[MaskVideo], *, data: str, protocol: Protocol = VIP, progress: Progress = iter
) -> Result:
    """VIP: mean IoU of 20 classes over all pixels of all frames, the first among them.

    Raises:
        DatasetError: a video cannot be read.
        ValueError: no video.
    """
    whole = np.zeros((len(VIP_CLASSES), len(VIP_CLASSES)), np.int64)
    parts = []
    for video in progress(videos):
        frames, gt = video.read()
        counts = confusion(gt, propagate_masks(model, frames, gt[0], protocol), len(VIP_CLASSES))
        whole += counts
        parts.append({"video": video.name, "mIoU": _mean(iou_of(counts))})
    if not parts:
        raise ValueError(f"{data}: got no video, expected at least one")
    ious = iou_of(whole)
    metrics = {"mIoU": _mean(ious)} | {f"IoU {name}": float(iou) for name, iou in zip(VIP_CLASSES, ious, strict=True)}
    return Result("vip", model.info, data, {**asdict(protocol), "videos": len(parts)}, metrics, parts)


def evaluate_jhmdb(
    model: VideoModel, videos: Iterable[PoseVideo], *, data: str, protocol: Protocol = JHMDB, progress: Progress = iter
) -> Result:
    """JHMDB: percentage of correct keypoints at 0.1..0.5 of the person's size.

    Raises:
        DatasetError: a video cannot be read.
        ValueError: no video.
    """
    gts, preds, visible, parts = [], [], [], []
    for video in progress(videos):
        frames, gt = video.read()
        original = (frames.shape[1], frames.shape[2])
        features = model.features(resized(frames, protocol.size))
        scores = _propagated(features, pose_to_labels(gt[0], model.grid, original), protocol)
        pred, seen = labels_to_poses(scores, original)
        gts.append(gt)
        preds.append(pred)
        visible.append(seen)
        parts.append({"video": video.name, **_pck(gts[-1:], preds[-1:], visible[-1:])})
    if not parts:
        raise ValueError(f"{data}: got no video, expected at least one")
    said = {**asdict(protocol), "videos": len(parts)}
    return Result("jhmdb", model.info, data, said, _pck(gts, preds, visible), parts)


def write_masks(folder: Path, like: Iterable[Path], masks: npt.NDArray[np.int32]) -> None:
    """Write labels [T, H, W] as palette PNG with these files' names, as davis2017-evaluation reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, mask in zip(like, masks, strict=True):
        save_mask(folder / path.name, mask)


def _pck(
    gts: list[npt.NDArray[np.float32]], preds: list[npt.NDArray[np.float32]], visible: list[npt.NDArray[np.float64]]
) -> dict[str, float]:
    values = pck(gts, preds, visible, PCK_THRESHOLDS)
    return {f"PCK@{threshold}": float(value) for threshold, value in zip(PCK_THRESHOLDS, values, strict=True)}


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
