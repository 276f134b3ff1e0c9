"""Features of a whole clip as pictures: main directions as colours, and clusters (paper, figures 5 and 7).

All frames are looked at together, which shows a model at its best; the live node's heads never look ahead. Departs from
the evaluation notebook in that each frame's mean is taken away, as the node's heads do: a recurrent state drifts while
it grows from zeros, and clusters would be parts of the time.

Shape legend: T frames, h w patches, D width, K clusters, H W pixels.
"""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from rvm_model.heads.clusters import labels_at

U8 = npt.NDArray[np.uint8]
STARTS = 4
"""Runs of k-means from other centres, of which the best is kept."""
ITERATIONS = 20
"""Of Lloyd's algorithm in each."""


def pca_colours(features: Tensor) -> U8:
    """The clip's three main directions as red, green and blue, each scaled to its range.

    Args:
        features: [T, h, w, D] with D of at least 3.

    Returns:
        uint8 [T, h, w, 3].

    Raises:
        ValueError: fewer than three numbers a patch.
    """
    if features.shape[-1] < 3:
        raise ValueError(f"features: got width {features.shape[-1]}, expected at least 3 for three colours")
    rows_MD = _centred(features)
    _, vectors_DD = torch.linalg.eigh(rows_MD.T @ rows_MD)
    axes_D3 = vectors_DD[:, -3:].flip(1)
    # An eigenvector's sign is arbitrary: the entry of largest size decides, so that a run repeats itself.
    largest = axes_D3.gather(0, axes_D3.abs().argmax(0, keepdim=True))
    projected_M3 = rows_MD @ (axes_D3 * largest.sign())
    low, high = projected_M3.amin(0), projected_M3.amax(0)
    shares = (projected_M3 - low) / (high - low).clamp(min=1e-12)
    return (shares * 255).round().to(torch.uint8).reshape(*features.shape[:3], 3).cpu().numpy()


def clip_clusters(features: Tensor, clusters: int, size: tuple[int, int], *, seed: int = 0) -> U8:
    """K-means over all patches of a clip, as labels of its pixels.

    Args:
        features: [T, h, w, D].
        clusters: K, 1 to 254.
        size: rows and columns wanted, H and W.
        seed: of the centres that it starts from.

    Returns:
        uint8 [T, H, W]; distances to the centres are interpolated between patches.

    Raises:
        ValueError: clusters out of range.
    """
    if not 1 <= clusters <= 254:
        raise ValueError(f"clusters: got {clusters}, expected 1..254")
    rows_MD = _centred(features).cpu()
    centres_KD = torch.from_numpy(_centres(rows_MD.numpy(), clusters, seed)).to(rows_MD)
    # The nearest centre has the largest x.c - c.c / 2.
    nearness_MK = rows_MD @ centres_KD.T - centres_KD.square().sum(1) / 2
    nearness_ThwK = nearness_MK.reshape(*features.shape[:3], clusters)
    return np.stack([labels_at(frame, *size).numpy() for frame in nearness_ThwK]).astype(np.uint8)


def enlarged(pictures: U8, size: tuple[int, int]) -> U8:
    """Pictures [T, h, w, 3] at another size, every patch a square as in the paper's figures."""
    return np.stack([cv2.resize(each, size[::-1], interpolation=cv2.INTER_NEAREST) for each in pictures])


def _centred(features: Tensor) -> Tensor:
    rows_TND = features.float().flatten(1, 2)
    return (rows_TND - rows_TND.mean(1, keepdim=True)).flatten(0, 1)


def _centres(rows_MD: npt.NDArray[np.float32], clusters: int, seed: int) -> npt.NDArray[np.float32]:
    best, least = rows_MD[:clusters], np.inf
    for start in range(STARTS):
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            # Fewer different patches than clusters: some stay empty.
            warnings.filterwarnings("ignore", "One of the clusters is empty")
            centres, labels = kmeans2(rows_MD, clusters, iter=ITERATIONS, minit="++", rng=seed + start)
        spread = np.square(rows_MD - centres[labels], dtype=np.float64).sum()
        if spread < least:
            best, least = centres, spread
    return best
