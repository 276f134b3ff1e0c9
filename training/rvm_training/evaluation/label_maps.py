"""Marks of a first frame as soft labels of its patches, and propagated soft labels as marks again.

With the resampling of the authors' evaluation notebook, which is OpenCV's.

Shape legend: H W pixels, h w patches, T frames, C = 1 + objects (column 0 of a mask is its smallest label), K joints.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

JOINT_SIGMA = 0.5
"""Standard deviation in patches of the spot that marks a joint."""
JOINT_PATCHES = 5
"""Highest patches whose weighted mean is a joint's position."""

F32 = npt.NDArray[np.float32]


def mask_to_labels(
    mask: npt.NDArray[np.integer], grid: tuple[int, int], size: tuple[int, int]
) -> tuple[F32, npt.NDArray[np.integer]]:
    """Soft labels of a mask's patches: the nearest pixel at the model's input size, then bilinear to the patches.

    Args:
        mask: labels [H, W], of a type that OpenCV resizes (uint8, uint16, int32).
        grid: patch rows and columns h, w.
        size: rows and columns of the model's input.

    Returns:
        (float32 [h, w, C] in 0..1, labels of the columns [C] in ascending order).
    """
    values = np.unique(mask)
    nearest = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    columns = np.stack([nearest == value for value in values], axis=-1).astype(np.float32)
    labels = np.asarray(cv2.resize(columns, grid[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return labels.reshape(*grid, len(values)), values  # OpenCV drops an axis of one.


def labels_to_masks(
    scores: Tensor, values: npt.NDArray[np.integer], size: tuple[int, int], original: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Masks of propagated soft labels: bilinear to the input size, the largest, then the nearest pixel.

    Args:
        scores: [T, h, w, C] from `propagate_labels`.
        values: labels of the columns [C].
        size: rows and columns of the model's input.
        original: rows and columns of the masks wanted, H and W.

    Returns:
        int32 [T, H, W].
    """
    found = np.asarray(values, np.int32)
    masks = []
    for frame in scores.cpu().numpy():
        large = cv2.resize(frame, size[::-1]).reshape(*size, len(found))
        masks.append(cv2.resize(found[large.argmax(-1)], original[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    return np.stack(masks)


def pose_to_labels(pose: npt.NDArray[np.floating], grid: tuple[int, int], original: tuple[int, int]) -> F32:
    """Soft labels of a pose: a small spot for every joint, and background where there is none.

    Args:
        pose: joints' positions (x, y) [K, 2] in pixels of the original frame.
        grid: patch rows and columns h, w.
        original: rows and columns of the original frame.

    Returns:
        float32 [h, w, 1 + K] in 0..1; a joint outside the frame has none.
    """
    labels = np.zeros((*grid, len(pose) + 1), np.float32)
    for joint, (x, y) in enumerate(pose * np.array([grid[1] / original[1], grid[0] / original[0]])):
        labels[..., joint + 1] = _spot(x, y, grid)
    labels[..., 0] = labels.sum(-1) == 0
    return labels


def labels_to_poses(
    scores: Tensor, original: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Positions of propagated joints: the mean of the highest patches, weighted by their scores.

    Args:
        scores: [T, h, w, 1 + K] from `propagate_labels`.
        original: rows and columns of the original frame.

    Returns:
        (positions (x, y) float32 [T, K, 2] in pixels of the original frame, -1 where a joint has no score anywhere;
        visible float64 [T, K], 1 or 0).
    """
    rows, columns = scores.shape[1:3]
    joints_TNK = scores[..., 1:].flatten(1, 2)
    values, places = joints_TNK.topk(min(JOINT_PATCHES, rows * columns), dim=1)
    # A division of nothing by nothing, where a joint is nowhere, is overwritten.
    weights = values / values.sum(1, keepdim=True)
    x = (places % columns * weights).sum(1) / columns * original[1]
    y = (places.div(columns, rounding_mode="floor") * weights).sum(1) / rows * original[0]
    positions = torch.stack([x, y], -1)
    positions[joints_TNK.sum(1) == 0] = -1
    found = positions.cpu().numpy()
    return found, (found[..., 0] >= 0).astype(np.float64)


def _spot(x: float, y: float, grid: tuple[int, int]) -> F32:
    """A Gaussian on the patch grid [h, w], highest where (x, y) falls; cut off at three standard deviations.

    As of the stacked hourglass network (pose-hg-train), which rounds the position towards zero.
    """
    rows, columns = grid
    spot = np.zeros(grid, np.float32)
    reach = 3 * JOINT_SIGMA
    left, top = int(x - reach), int(y - reach)
    right, bottom = int(x + reach + 1), int(y + reach + 1)
    if left >= columns or top >= rows or right < 0 or bottom < 0:
        return spot
    steps = np.arange(0, 2 * reach + 1) - (2 * reach + 1) // 2
    bell = np.exp(-(steps**2 + steps[:, None] ** 2) / (2 * JOINT_SIGMA**2))
    inside = bell[max(0, -top) : min(bottom, rows) - top, max(0, -left) : min(right, columns) - left]
    spot[max(0, top) : min(bottom, rows), max(0, left) : min(right, columns)] = inside
    return spot
