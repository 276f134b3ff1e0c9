"""What people mark on an image, as soft masks on the token grid: a label image, a box, or points.

Boxes and points are completed by the features: what of a box is the object, and how far the object of a point goes. No
weights are trained for it, so the masks are as good as the features. All of it is done on the CPU, once for a prompt.

Shape legend: H W image sides, h w patch rows and columns, N = h w, D feature width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rvm_model.heads.tokens import as_matrix

NEIGHBOURS = 3
"""Most similar tokens whose mean similarity says how near a token is to the object, or to the background."""
ROUNDS = 5
"""Times that a box is split again after its first split."""
SOFTNESS = 0.1
"""Difference of two cosine similarities at which a token is the object by three quarters (a logistic curve)."""
LEAST_CONTRAST = 1e-4
"""Standard deviation of the tokens, as a share of their size, below which features say nothing."""


def masks_from_labels(
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    grid: tuple[int, int],
    *,
    size: tuple[int, int] | None = None,
    unlabelled: int = 255,
) -> dict[int, Tensor]:
    """Make a soft mask of every object of a label image, as the authors' evaluation does.

    Nearest resize to the engine's input, then every object bilinearly, without antialiasing, to the grid. That reads a
    few pixels at the centre of each patch only, and misses what lies between. An object that is more than half of no
    token this way is given its true share of each patch instead, relative to the patch that it covers most, which is
    its own then.

    Args:
        labels: ids [H, W]; 0 is background.
        grid: rows and columns of the tokens.
        size: height and width of the engine's input, where the image's size is not the same.
        unlabelled: value that is no object.

    Returns:
        id to float32 [h, w] in 0..1 on the CPU.

    Raises:
        ValueError: not such an image, or no object on it.
    """
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16) or 0 in labels.shape:
        raise ValueError(f"labels: got {labels.dtype} {labels.shape}, expected uint8 or uint16 [H, W]")
    ids = [int(each) for each in np.unique(labels) if each not in (0, unlabelled)]
    if not ids:
        raise ValueError(f"labels: got only background and unlabelled ({unlabelled}), expected an object's id")
    height, width = size or labels.shape
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    resized = labels[rows[:, None], columns]
    masks = {}
    for each in ids:
        mask = _resized(resized == each, grid, "bilinear")
        if mask.max() <= 0.5:
            mask = _resized(labels == each, grid, "area")
            mask = mask / mask.max()
        masks[each] = mask
    return masks


@torch.no_grad()
def mask_from_box(tokens: Tensor, box: Sequence[float]) -> Tensor:
    """Find the object of a box: tokens in it that are more like each other than like what is outside.

    At first the half of the box's tokens that is least like the tokens outside is the object. Then, for some rounds,
    those tokens of the box are that are more similar to the object of the round before than to the outside; similarity
    is the mean cosine to the nearest few, after the frame's mean is taken away.

    Args:
        tokens: features [h, w, D], floating point.
        box: (x0, y0, x1, y1) as shares of the image's width and height, 0..1.

    Returns:
        float32 [h, w] in 0..1 on the CPU, 0 outside of the box and more than half of at least one token. Where features
        do not tell (they are constant, nothing is outside of the box, or no token would be left) it is the share of
        each token that the box covers; relative to the largest, if the box covers more than half of none.

    Raises:
        ValueError: a box that is none, or tokens that are not a finite feature map.
    """
    unit_ND, grid = _contrast(tokens)
    x0, y0, x1, y1 = _checked_box(box)
    cover = _overlap(y0, y1, grid[0])[:, None] * _overlap(x0, x1, grid[1])
    if cover.max() <= 0.5:
        cover = cover / cover.max()
    inside, outside = cover.flatten() >= 0.5, cover.flatten() == 0
    if unit_ND is None or not outside.any():
        return cover
    similarity_NN = (unit_ND @ unit_ND.T).fill_diagonal_(-1.0)
    to_outside = _nearness(similarity_NN, outside)
    member = inside & (to_outside <= to_outside[inside].median())
    margin = torch.zeros_like(to_outside)
    for _ in range(ROUNDS):
        margin = _nearness(similarity_NN, member) - to_outside
        better = inside & (margin > 0)
        if not better.any():
            return cover
        member = better
    mask = cover * torch.sigmoid(margin * (math.log(3) / SOFTNESS)).reshape(grid)
    return mask if mask.max() > 0.5 else cover


@torch.no_grad()
def mask_from_points(
    tokens: Tensor, positive: Sequence[Sequence[float]], negative: Sequence[Sequence[float]] = ()
) -> Tensor:
    """Find the object of some points: tokens like those of the points, and connected with them.

    A token is like them when its cosine to the most similar positive point (after the frame's mean is taken away) is
    above a threshold, which is Otsu's between the frame's similarities, and above that to any negative point. Of these,
    the ones that a way over the four neighbours connects with a positive point are the object.

    Args:
        tokens: features [h, w, D], floating point.
        positive: points (x, y) on the object, as shares of the image's width and height, 0..1.
        negative: points that are not on it.

    Returns:
        float32 [h, w] on the CPU: 1 at the positive points, 0.5..1 on what belongs to them, 0 elsewhere. Features that
        are constant leave the points' own tokens.

    Raises:
        ValueError: no positive point, a point outside, one token both positive and negative, or tokens that are not a
            finite feature map.
    """
    unit_ND, grid = _contrast(tokens)
    on, off = _tokens_at(positive, grid, "positive"), _tokens_at(negative, grid, "negative")
    if not on:
        raise ValueError("positive: got no point, expected at least one on the object")
    both = sorted({*on} & {*off})
    if both:
        raise ValueError(
            f"negative: got a point on token {divmod(both[0], grid[1])} (row, column), which a positive one is on too; "
            "expected different tokens"
        )
    seeds = torch.zeros(grid)
    seeds.view(-1)[on] = 1.0
    if unit_ND is None:
        return seeds
    likeness = (unit_ND @ unit_ND[on].T).amax(1)
    threshold = _otsu(likeness)
    alike = likeness > threshold
    if off:
        alike &= likeness > (unit_ND @ unit_ND[off].T).amax(1)
    region = _connected(seeds > 0, alike.reshape(grid) | (seeds > 0))
    share = 0.5 + 0.5 * (likeness - threshold) / (1 - threshold).clamp(min=1e-6)
    return torch.where(region, share.reshape(grid).clamp(0.5, 1), 0.0).maximum(seeds)


def _resized(mask: npt.NDArray[np.bool_], grid: tuple[int, int], mode: str) -> Tensor:
    return functional.interpolate(torch.from_numpy(mask)[None, None].float(), size=grid, mode=mode)[0, 0]


def _contrast(tokens: Tensor) -> tuple[Tensor | None, tuple[int, int]]:
    """Unit vectors [N, D] of what tells tokens apart, None where nothing does, and the grid."""
    rows_ND, finite = as_matrix(tokens.cpu())
    if not finite:
        raise ValueError("tokens: got values that are not finite, expected a sound frame to mark objects on")
    centred_ND = rows_ND - rows_ND.mean(0)
    tells = centred_ND.square().mean() > LEAST_CONTRAST**2 * rows_ND.square().mean()
    return functional.normalize(centred_ND, dim=1) if tells else None, (tokens.shape[0], tokens.shape[1])


def _checked_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    if len(box) == 4:
        x0, y0, x1, y1 = (float(each) for each in box)
        if 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1:  # False for NaN too.
            return x0, y0, x1, y1
    raise ValueError(f"box: got {tuple(box)}, expected (x0, y0, x1, y1) with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1")


def _overlap(start: float, stop: float, count: int) -> Tensor:
    """Share of each of `count` equal parts of 0..1 that start..stop covers."""
    edges = torch.arange(count + 1, dtype=torch.float64)
    covered = edges[1:].clamp(max=stop * count) - edges[:-1].clamp(min=start * count)
    return covered.clamp(min=0).float()


def _nearness(similarity_NN: Tensor, members: Tensor) -> Tensor:
    """Mean similarity [N] to the most similar few of the members."""
    return similarity_NN[:, members].topk(min(NEIGHBOURS, int(members.sum())), dim=1).values.mean(1)


def _tokens_at(points: Sequence[Sequence[float]], grid: tuple[int, int], name: str) -> list[int]:
    """Flat indices of the tokens that points (x, y) in 0..1 lie on."""
    found = []
    for point in points:
        if len(point) != 2 or not all(0 <= each <= 1 for each in point):
            raise ValueError(f"{name}: got point {tuple(point)}, expected (x, y) in 0..1")
        row, column = (min(int(share * count), count - 1) for share, count in zip(point[::-1], grid, strict=True))
        found.append(row * grid[1] + column)
    return found


def _otsu(values: Tensor) -> Tensor:
    """Threshold that parts values [N] into two classes whose means differ most, weighed by their sizes (Otsu)."""
    ordered = values.sort().values
    counts = torch.arange(1, len(ordered), dtype=ordered.dtype)
    sums = ordered.cumsum(0)
    low, high = sums[:-1] / counts, (sums[-1] - sums[:-1]) / (len(ordered) - counts)
    cut = int((counts * (len(ordered) - counts) * (high - low).square()).argmax())
    return (ordered[cut] + ordered[cut + 1]) / 2


def _connected(seeds: Tensor, allowed: Tensor) -> Tensor:
    """What of allowed [h, w] a way over four neighbours connects with a seed."""
    region = seeds
    while True:
        grown = region.clone()
        grown[1:] |= region[:-1]
        grown[:-1] |= region[1:]
        grown[:, 1:] |= region[:, :-1]
        grown[:, :-1] |= region[:, 1:]
        grown &= allowed
        if torch.equal(grown, region):
            return region
        region = grown
