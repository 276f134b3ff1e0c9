"""Metrics of label propagation: J and F of DAVIS, PCK of JHMDB, mIoU of VIP, to the digit of the reference code.

J and F follow davis2017-evaluation, PCK the code of UVC and mIoU that of VIP, all as the authors' evaluation notebook
uses them.

Shape legend: T frames, H W pixels, K joints.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from skimage.morphology import disk

Bool = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]

BOX_SHARE = 0.6
"""PCK measures distances in this share of the diagonal of the box around a person's visible joints."""
RECALL_THRESHOLD = 0.5
"""J or F above which a frame counts for the recall."""
DECAY_BINS = 4
"""Parts of a sequence; the decay is the first one's mean less the last one's."""


def jaccard(gt: npt.ArrayLike, pred: npt.ArrayLike, void: npt.ArrayLike | None = None) -> F64:
    """Region similarity J of one object: intersection over union.

    Args:
        gt: true masks, bool [T, H, W].
        pred: predicted masks, bool [T, H, W].
        void: pixels that do not count, bool [T, H, W].

    Returns:
        float64 [T] in 0..1; 1 where both masks are empty.

    Raises:
        ValueError: shapes that differ, or are not [T, H, W].
    """
    gt_THW, pred_THW, void_THW = _masks(gt, pred, void)
    intersection = (gt_THW & pred_THW & ~void_THW).sum((1, 2))
    union = ((gt_THW | pred_THW) & ~void_THW).sum((1, 2))
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))


def boundary_f(
    gt: npt.ArrayLike, pred: npt.ArrayLike, void: npt.ArrayLike | None = None, bound_th: float = 0.008
) -> F64:
    """Boundary accuracy F of one object: how much of each outline lies near the other.

    Args:
        gt: true masks, bool [T, H, W].
        pred: predicted masks, bool [T, H, W].
        void: pixels that do not count, bool [T, H, W].
        bound_th: what is near, as a share of the image's diagonal (rounded up to pixels), or from 1 on in pixels.

    Returns:
        float64 [T] in 0..1.

    Raises:
        ValueError: shapes that differ, or are not [T, H, W].
    """
    gt_THW, pred_THW, void_THW = _masks(gt, pred, void)
    reach = bound_th if bound_th >= 1 else np.ceil(bound_th * np.linalg.norm(gt_THW.shape[1:]))
    near = disk(reach).astype(np.uint8)
    frames = zip(gt_THW & ~void_THW, pred_THW & ~void_THW, strict=True)
    return np.array([_frame_f(gt_HW, pred_HW, near) for gt_HW, pred_HW in frames])


def _frame_f(gt_HW: Bool, pred_HW: Bool, near: npt.NDArray[np.uint8]) -> float:
    gt_outline, pred_outline = boundary(gt_HW), boundary(pred_HW)
    gt_count, pred_count = np.count_nonzero(gt_outline), np.count_nonzero(pred_outline)
    if gt_count == 0 or pred_count == 0:
        return float(gt_count == pred_count)
    precision = np.count_nonzero(pred_outline & _grown(gt_outline, near)) / pred_count
    recall = np.count_nonzero(gt_outline & _grown(pred_outline, near)) / gt_count
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Bool) -> Bool:
    """Outline of a mask [H, W], one pixel wide: where a pixel differs from the one right of, below or diagonal to it.

    Half a pixel nearer to the origin than the outline in truth, as David Martin's seg2bmap.
    """
    mask = np.asarray(mask, bool)
    right, below, diagonal = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], diagonal[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    outline = (mask ^ right) | (mask ^ below) | (mask ^ diagonal)
    outline[-1], outline[:, -1] = mask[-1] ^ right[-1], mask[:, -1] ^ below[:, -1]
    outline[-1, -1] = False
    return outline


def _grown(outline: Bool, near: npt.NDArray[np.uint8]) -> Bool:
    return np.asarray(cv2.dilate(outline.astype(np.uint8), near), bool)


@dataclass(frozen=True)
class Statistics:
    """J or F of one object over its frames, as DAVIS reports it; each NaN where there are no frames."""

    mean: float
    recall: float
    """Share of the frames with more than 0.5."""
    decay: float
    """Mean of the first quarter less that of the last one."""


def statistics(values: npt.ArrayLike) -> Statistics:
    """Summarise per-frame values [T], leaving out those that are NaN."""
    values = np.asarray(values, np.float64)
    if len(values) < 1:
        return Statistics(np.nan, np.nan, np.nan)
    # As in the reference, whose indices go through a byte: a sequence has fewer than 256 frames there. Ours go on.
    edges = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(int) - 1
    bins = [values[first : last + 1] for first, last in pairwise(edges)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # All NaN has the mean NaN.
        mean = float(np.nanmean(values))
        decay = float(np.nanmean(bins[0]) - np.nanmean(bins[-1]))
    return Statistics(mean, float(np.nanmean(values > RECALL_THRESHOLD)), decay)


def pck(
    gts: Sequence[npt.ArrayLike],
    preds: Sequence[npt.ArrayLike],
    visible: Sequence[npt.ArrayLike],
    thresholds: Sequence[float],
) -> F64:
    """Percentage of correct keypoints, by joint and then averaged over the joints.

    A joint is correct where it is no farther from the truth than the threshold times the size of the person: 0.6 of the
    diagonal of the box around the true positions of the joints that are visible in the prediction. The first frame,
    which was given, is left out. A joint that is never visible does not count.

    Args:
        gts: true positions (x, y) [T, K, 2], for each video.
        preds: predicted positions [T, K, 2].
        visible: 1 where a joint is visible in the prediction [T, K].
        thresholds: shares of the person's size.

    Returns:
        Percent float64 [len(thresholds)]; NaN where no joint is ever visible.

    Raises:
        ValueError: lists or shapes that do not fit each other.
    """
    correct, counted = np.zeros(0), np.zeros(0)
    if not len(gts) == len(preds) == len(visible):
        raise ValueError(f"pck: got {len(gts)}, {len(preds)} and {len(visible)} videos, expected as many of each")
    limits = np.asarray(thresholds, np.float64)
    for each in zip(gts, preds, visible, strict=True):
        # In the types that came, as the reference computes: distances at a threshold then fall on the same side.
        gt_TK2, pred_TK2, visible_TK = (np.asarray(array) for array in each)
        if gt_TK2.ndim != 3 or gt_TK2.shape != pred_TK2.shape or gt_TK2.shape[:2] != visible_TK.shape:
            raise ValueError(
                f"pck: got {gt_TK2.shape}, {pred_TK2.shape} and {visible_TK.shape}, expected [T, K, 2] twice and [T, K]"
            )
        seen_TK = visible_TK == 1
        if not len(counted):
            counted, correct = np.zeros(gt_TK2.shape[1]), np.zeros((len(limits), gt_TK2.shape[1]))
        for gt_K2, pred_K2, seen_K in zip(gt_TK2[1:], pred_TK2[1:], seen_TK[1:], strict=True):
            if not seen_K.any():
                continue
            corners = gt_K2[seen_K].max(0) - gt_K2[seen_K].min(0)
            size = BOX_SHARE * np.linalg.norm(corners)
            distances_K = np.linalg.norm(pred_K2 - gt_K2, axis=1) / size
            counted += seen_K
            correct += (distances_K <= limits[:, None]) & seen_K
    if not counted.any():
        return np.full(len(limits), np.nan)
    kept = counted > 0
    return np.array([joints_K.mean() for joints_K in 100 * correct[:, kept] / counted[kept]])


def confusion(gt: npt.ArrayLike, pred: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.int64]:
    """Count pixels by true and predicted class.

    Args:
        gt: true labels of any shape; values outside 0..num_classes - 1 do not count.
        pred: predicted labels of the same shape, all in 0..num_classes - 1 where the truth counts.
        num_classes: number of classes C.

    Returns:
        int64 [C, C], the true class first.

    Raises:
        ValueError: shapes that differ, or a predicted label that is no class.
    """
    gt, pred = np.asarray(gt), np.asarray(pred)
    if gt.shape != pred.shape:
        raise ValueError(f"mean_iou: got labels {gt.shape} and {pred.shape}, expected the same shape")
    counts = (gt >= 0) & (gt < num_classes)
    gt, pred = gt[counts].astype(np.int64), pred[counts].astype(np.int64)
    if pred.size and not 0 <= pred.min() <= pred.max() < num_classes:
        raise ValueError(f"mean_iou: got labels {pred.min()}..{pred.max()}, expected 0..{num_classes - 1}")
    return np.bincount(num_classes * gt + pred, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_of(confusion: npt.NDArray[np.int64]) -> F64:
    """Intersection over union of every class, float64 [C]; NaN for a class in neither truth nor prediction."""
    intersection = np.diag(confusion)
    union = confusion.sum(1) + confusion.sum(0) - intersection
    return np.divide(intersection, union, out=np.full(len(confusion), np.nan), where=union > 0)


def mean_iou(gt: npt.ArrayLike, pred: npt.ArrayLike, num_classes: int) -> float:
    """Mean of the classes' intersection over union, over all pixels together.

    Args:
        gt: true labels of any shape; values outside 0..num_classes - 1 do not count.
        pred: predicted labels of the same shape.
        num_classes: number of classes.

    Returns:
        0..1; classes in neither truth nor prediction are left out. NaN where none is left.

    Raises:
        ValueError: shapes that differ, or a predicted label that is no class.
    """
    of_classes = iou_of(confusion(gt, pred, num_classes))
    return float(np.nanmean(of_classes)) if np.isfinite(of_classes).any() else float("nan")


def _masks(gt: npt.ArrayLike, pred: npt.ArrayLike, void: npt.ArrayLike | None) -> tuple[Bool, Bool, Bool]:
    gt_THW, pred_THW = np.asarray(gt, bool), np.asarray(pred, bool)
    void_THW = np.zeros_like(gt_THW) if void is None else np.asarray(void, bool)
    if gt_THW.ndim != 3 or not gt_THW.shape == pred_THW.shape == void_THW.shape:
        raise ValueError(f"masks: got {gt_THW.shape}, {pred_THW.shape} and {void_THW.shape}, expected equal [T, H, W]")
    return gt_THW, pred_THW, void_THW
