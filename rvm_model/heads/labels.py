"""Labels of every pixel from scores of every token, at the cost of the boundaries between the labels.

Bilinear interpolation is a weighted mean of the four tokens around a pixel, and so is what lies between four tokens of
one label that label. Only the other places are computed, and there only the labels that can win.

Shape legend: H W image, h w grid of tokens, K labels. A cell is what lies between four tokens; with the margins there
are h + 1 times w + 1. M cells computed together, P Q the pixels of the largest one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8] | npt.NDArray[np.int32]

VALUES_AT_ONCE = 1 << 17
"""Pixels, and scores of a corner, of the cells that are computed together: half a megabyte of floats, which stays in a
cache of one megabyte."""
LARGEST = 1e15
"""Scores are taken to be no larger than this, of either sign."""


def labels_by_cells(scores_hwK: Floats, height: int, width: int) -> Labels:
    """Label with the largest score of every pixel, the scores resized bilinearly; of equal ones the first.

    With numpy and not torch, because it computes in the thread that calls it: many small pieces of work shared among
    torch's threads wait for these far longer than they compute when the machine has other things to do.

    Args:
        scores_hwK: finite scores [h, w, K]; where one is not, the label is arbitrary.
        height: H.
        width: W.

    Returns:
        [H, W]: uint8 up to 254 labels, else int32. What `torch.nn.functional.interpolate` (bilinear, without aligned
        corners) and an argmax give, but where two scores differ by no more than their rounding.
    """
    tokens_high, tokens_wide, count = scores_hwK.shape
    rows, columns = _axis(tokens_high, height), _axis(tokens_wide, width)
    # A finite score times a weight of zero is zero, and what is not finite would spread.
    finite = np.nan_to_num(scores_hwK, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
    padded = np.pad(finite, ((1, 1), (1, 1), (0, 0)), mode="edge")
    winner = padded.argmax(-1)
    first = winner[:-1, :-1]
    # 255 stays free for unlabelled; the larger type is one that torch has too.
    labels: Labels = first.astype(np.uint8 if count <= 254 else np.int32)
    labels = labels.repeat(columns.pixels, axis=1).repeat(rows.pixels, axis=0)
    mixed = (first != winner[:-1, 1:]) | (first != winner[1:, :-1]) | (first != winner[1:, 1:])
    mixed &= (rows.pixels > 0)[:, None] & (columns.pixels > 0)
    cell_rows, cell_columns = mixed.nonzero()
    at_once = max(1, VALUES_AT_ONCE // max(count, rows.share.shape[1] * columns.share.shape[1]))
    for start in range(0, len(cell_rows), at_once):
        some = slice(start, start + at_once)
        _label_cells(labels, padded, (rows, columns), (cell_rows[some], cell_columns[some]))
    return labels


@dataclass(frozen=True)
class _Axis:
    """How pixels lie between tokens along one side of the image; cell i is between tokens i - 1 and i."""

    pixels: npt.NDArray[np.int64]
    """Number of pixels in each cell; may be 0."""
    start: npt.NDArray[np.int64]
    """First pixel of each cell."""
    share: Floats
    """[cells, P] weight of the token after each pixel, 0..1; a cell with fewer pixels repeats its last one."""


def _axis(tokens: int, pixels: int) -> _Axis:
    """Positions as torch has them without aligned corners: pixel centres at (i + 0.5) tokens / pixels - 0.5."""
    scale = np.float64(np.float32(tokens / pixels))
    position = ((np.arange(pixels) + 0.5) * scale - 0.5).astype(np.float32)
    before = np.floor(position).astype(np.int64)
    count = np.bincount(before + 1, minlength=tokens + 1)
    end = count.cumsum()
    start = end - count
    # Beyond the first and the last token both sides are the same token, so that the share does not matter.
    share = position - before.astype(np.float32)
    padded = np.minimum(start[:, None] + np.arange(count.max()), np.maximum(end - 1, 0)[:, None])
    return _Axis(count, start, share[padded])


def _label_cells(
    labels: Labels, padded: Floats, axes: tuple[_Axis, _Axis], cells: tuple[npt.NDArray[np.int64], ...]
) -> None:
    """Write the labels of these cells, given by row and column, into `labels` [H, W]."""
    i, j = cells
    corners_4MK = np.stack([padded[i, j], padded[i, j + 1], padded[i + 1, j], padded[i + 1, j + 1]])
    # A label cannot win in a cell where its largest corner is below the smallest corner of another.
    possible_MK = corners_4MK.max(0) >= corners_4MK.min(0).max(-1, keepdims=True)
    count_M = possible_MK.sum(1)
    # The cell with the most first: those that have an n-th label to compare are then the first so many.
    order = np.argsort(-count_M, kind="stable")
    i, j, count_M, possible_MK = i[order], j[order], count_M[order], possible_MK[order]
    candidates_Mn = np.argsort(~possible_MK, axis=1, kind="stable")[:, : count_M[0]]
    corners_4Mn = np.take_along_axis(corners_4MK[:, order], candidates_Mn[None], axis=-1)
    # How many cells have a first candidate, a second, and so on.
    cells_n = (count_M[:, None] > np.arange(count_M[0])).sum(0).tolist()
    rows, columns = axes
    y_MP, x_MQ = rows.share[i], columns.share[j]
    best_MPQ = _interpolate(corners_4Mn[..., 0], y_MP, x_MQ)
    winner_MPQ = np.empty(best_MPQ.shape, labels.dtype)
    winner_MPQ[:] = candidates_Mn[:, 0, None, None]
    for n, m in enumerate(cells_n[1:], start=1):
        layer = _interpolate(corners_4Mn[:, :m, n], y_MP[:m], x_MQ[:m])
        better = layer > best_MPQ[:m]
        # The candidates rise, so a maximum keeps the last that was better: no masked write, which is slower.
        risen = np.multiply(better, candidates_Mn[:m, n, None, None].astype(labels.dtype))
        np.maximum(winner_MPQ[:m], risen, out=winner_MPQ[:m])
        np.maximum(best_MPQ[:m], layer, out=best_MPQ[:m])
    tops, lefts = rows.start[i], columns.start[j]
    bottoms, rights = tops + rows.pixels[i], lefts + columns.pixels[j]
    places = zip(tops.tolist(), bottoms.tolist(), lefts.tolist(), rights.tolist(), strict=True)
    for winner_PQ, (top, bottom, left, right) in zip(winner_MPQ, places, strict=True):
        labels[top:bottom, left:right] = winner_PQ[: bottom - top, : right - left]


def _interpolate(corners_4M: Floats, y_MP: Floats, x_MQ: Floats) -> Floats:
    """Bilinear interpolation [M, P, Q] between corners top left, top right, bottom left, bottom right [4, M]."""
    top_left, top_right, bottom_left, bottom_right = corners_4M[..., None]
    top = top_left * (1 - x_MQ) + top_right * x_MQ
    bottom = bottom_left * (1 - x_MQ) + bottom_right * x_MQ
    layer: Floats = top[:, None] * (1 - y_MP)[..., None]
    layer += bottom[:, None] * y_MP[..., None]
    return layer
