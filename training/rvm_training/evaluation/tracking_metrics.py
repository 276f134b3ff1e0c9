"""Metrics of readouts: tracked points (TAP-Vid), tracked boxes, depth, classes.

Shape legend: P points or boxes, T frames.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
DISTANCES = (1, 2, 4, 8, 16)
"""Pixels of a frame of 256x256 within which TAP-Vid counts a point as found."""


def tapvid(
    query_frames: npt.ArrayLike,
    gt: npt.ArrayLike,
    gt_occluded: npt.ArrayLike,
    pred: npt.ArrayLike,
    pred_occluded: npt.ArrayLike,
    *,
    query_mode: str = "first",
) -> dict[str, float]:
    """TAP-Vid's metrics of one video, with the arithmetic of the official code (tapnet).

    Args:
        query_frames: frame on which each point was given, [P].
        gt: true positions (x, y) [P, T, 2], in pixels of a frame of 256x256.
        gt_occluded: where a point is not to be seen, [P, T].
        pred: predicted positions [P, T, 2].
        pred_occluded: predicted occlusion [P, T].
        query_mode: `first` scores the frames after the query, `strided` all but the query.

    Returns:
        `average_jaccard`, `average_pts_within_thresh`, `occlusion_accuracy`, and `jaccard_D` and `pts_within_D` of
        every distance, each in 0..1; NaN where nothing counts.

    Raises:
        ValueError: shapes that do not fit each other, or another mode.
    """
    gt_PT2, pred_PT2 = np.asarray(gt, np.float64), np.asarray(pred, np.float64)
    hidden_PT, pred_hidden_PT = np.asarray(gt_occluded, bool), np.asarray(pred_occluded, bool)
    frames_P = np.round(np.asarray(query_frames)).astype(int)
    shapes = gt_PT2.shape, pred_PT2.shape, hidden_PT.shape, pred_hidden_PT.shape, frames_P.shape
    if gt_PT2.ndim != 3 or shapes != (gt_PT2.shape, gt_PT2.shape, *[gt_PT2.shape[:2]] * 2, gt_PT2.shape[:1]):
        raise ValueError(f"tapvid: got {shapes}, expected [P, T, 2] twice, [P, T] twice and [P]")
    time_T = np.arange(gt_PT2.shape[1])
    if query_mode == "first":
        counts_PT = time_T > frames_P[:, None]
    elif query_mode == "strided":
        counts_PT = time_T != frames_P[:, None]
    else:
        raise ValueError(f"query_mode: got {query_mode!r}, expected first or strided")
    seen_PT, pred_seen_PT = ~hidden_PT & counts_PT, ~pred_hidden_PT & counts_PT
    squares_PT = np.square(pred_PT2 - gt_PT2).sum(-1)
    values = {"occlusion_accuracy": _share(((hidden_PT == pred_hidden_PT) & counts_PT).sum(), counts_PT.sum())}
    for distance in DISTANCES:
        found_PT = (squares_PT < distance**2) & seen_PT
        true_positives = (found_PT & pred_seen_PT).sum()
        false_positives = (pred_seen_PT & ~found_PT).sum()
        values[f"pts_within_{distance}"] = _share(found_PT.sum(), seen_PT.sum())
        values[f"jaccard_{distance}"] = _share(true_positives, seen_PT.sum() + false_positives)
    averages = {
        "average_jaccard": float(np.mean([values[f"jaccard_{each}"] for each in DISTANCES])),
        "average_pts_within_thresh": float(np.mean([values[f"pts_within_{each}"] for each in DISTANCES])),
    }
    return averages | values


def box_iou(gt: npt.ArrayLike, pred: npt.ArrayLike) -> F64:
    """Intersection over union of boxes.

    Args:
        gt: true boxes (left, top, right, bottom) [..., 4].
        pred: predicted boxes [..., 4]; one whose right or lower side is before the other is empty.

    Returns:
        [...] in 0..1; 0 where both are empty.

    Raises:
        ValueError: shapes that differ, or do not end in 4.
    """
    gt_boxes, pred_boxes = np.asarray(gt, np.float64), np.asarray(pred, np.float64)
    if gt_boxes.shape != pred_boxes.shape or gt_boxes.shape[-1] != 4:
        raise ValueError(f"boxes: got {gt_boxes.shape} and {pred_boxes.shape}, expected equal [..., 4]")
    low = np.maximum(gt_boxes[..., :2], pred_boxes[..., :2])
    high = np.minimum(gt_boxes[..., 2:], pred_boxes[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    whole = sum(np.clip(each[..., 2:] - each[..., :2], 0, None).prod(-1) for each in (gt_boxes, pred_boxes)) - common
    return np.asarray(np.divide(common, whole, out=np.zeros_like(common), where=whole > 0))


def absolute_relative(gt: npt.ArrayLike, pred: npt.ArrayLike, valid: npt.ArrayLike) -> float:
    """AbsRel of depth: mean of |prediction - truth| / truth over the pixels that have a true depth; NaN without any.

    Args:
        gt: true depth, in metres, of any shape.
        pred: predicted depth of the same shape.
        valid: where the truth is known and above 0, of the same shape.
    """
    keep = np.asarray(valid, bool)
    true, found = np.asarray(gt, np.float64)[keep], np.asarray(pred, np.float64)[keep]
    return float(np.mean(np.abs(found - true) / true)) if true.size else float("nan")


def top_k(labels: npt.ArrayLike, scores: npt.ArrayLike, k: int) -> float:
    """Share of samples [S] whose class is among the k highest scores [S, C]; NaN without samples or sound scores."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not len(labels) or not np.isfinite(scores).all():
        return float("nan")
    # Of equal scores the first class wins, as in an argmax.
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(1).mean())


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
