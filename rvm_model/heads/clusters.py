"""Online k-means on features: a segmentation without training, whose labels stay with their objects.

Spherical k-means (cosine similarity) on features from which the frame's mean is taken away. The centroids follow the
stream slowly, so an index keeps meaning what it meant; a cluster that stays empty is started anew where the features
are represented worst. The paper clusters whole clips at once (figure 7); this never looks back.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rvm_model.heads.labels import labels_by_cells
from rvm_model.heads.tokens import as_matrix, check_width, running_weight, where_all

RESIZED_AT_ONCE = 16
"""Clusters whose similarities are resized to an image's size together."""


@dataclass(frozen=True)
class ClusterConfig:
    """How the clusters start and follow."""

    clusters: int = 6
    """Number of clusters K."""
    seed: int = 0
    """Seed of the start on the first frame."""
    starts: int = 8
    """Tries with k-means++ on the first frame, of which the best is kept: one try may split a large object in two."""
    start_iterations: int = 10
    """Lloyd iterations of each try."""
    momentum: float = 0.05
    """Weight that a new frame settles at in the centroids, 0..1; 0 freezes them after the first frame."""
    dead_share: float = 0.001
    """Share of the tokens below which a cluster counts as empty in a frame."""
    dead_frames: int = 90
    """Frames in a row that a cluster is empty before it is started anew."""

    def __post_init__(self) -> None:
        """Refuse values that make no clustering."""
        if self.clusters < 1 or self.clusters > 65535:
            raise ValueError(f"clusters: got {self.clusters}, expected 1..65535")
        if not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"momentum: got {self.momentum}, expected 0..1")
        for name, least in (("seed", 0), ("starts", 1), ("start_iterations", 0), ("dead_frames", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least {least}")
        if not 0.0 <= self.dead_share < 1.0:
            raise ValueError(f"dead_share: got {self.dead_share}, expected at least 0 and less than 1")


@dataclass(frozen=True)
class ClusterState:
    """Clusters of one camera; D is the features' width."""

    centroids: Tensor
    """Unit vectors [K, D]."""
    empty_frames: Tensor
    """int64 [K], how many frames in a row each cluster has been empty."""
    frames: Tensor
    """Frames in the centroids, float32 scalar."""
    placed: bool
    """False after a frame without contrast, a black image say: the next frame is then taken for the first."""


class OnlineKMeans:
    """Assigns tokens to clusters, one camera's state at a time."""

    def __init__(self, config: ClusterConfig | None = None) -> None:
        self.config = config or ClusterConfig()

    @torch.no_grad()
    def __call__(self, tokens: Tensor, state: ClusterState | None = None) -> tuple[Tensor, ClusterState]:
        """Cluster one frame.

        Args:
            tokens: features [h, w, D], floating point, on any device.
            state: from the camera's last frame; None at the first.

        Returns:
            (similarity float32 [h, w, K] in [-1, 1] of every token to every centroid, state for the next frame); a
            token's label is the argmax, see `labels_at`. A frame with a value that is not finite leaves an
            earlier state as it was.

        Raises:
            ValueError: not [h, w, D], or a width other than the state's.
        """
        x_ND, finite = as_matrix(tokens)
        # Each frame's own mean, for the reason that `StreamingPCA` gives.
        unit_ND = _unit(x_ND - x_ND.mean(0))
        if state is None or not state.placed:
            state = self._start(unit_ND)
        else:
            check_width(x_ND, state.centroids)
            state = where_all(finite, self._follow(unit_ND, state), state)
        return (unit_ND @ state.centroids.T).reshape(*tokens.shape[:2], -1), state

    def _start(self, unit_ND: Tensor) -> ClusterState:
        # Drawn on the CPU, so that a seed gives the same clusters on every device.
        generator = torch.Generator().manual_seed(self.config.seed)
        draws = torch.rand(self.config.starts, self.config.clusters, generator=generator).to(unit_ND.device)
        tries_SKD = torch.stack([self._try(unit_ND, row) for row in draws])
        fit_S = (unit_ND @ tries_SKD.mT).amax(-1).sum(-1)
        centroids = tries_SKD.index_select(0, fit_S.argmax().reshape(1))[0]
        empty_frames = torch.zeros(len(centroids), dtype=torch.long, device=unit_ND.device)
        # Read back from the device, which only a start does.
        placed = bool(centroids.norm(dim=1).min() > 0.5)
        return ClusterState(centroids, empty_frames, unit_ND.new_ones(()), placed)

    def _try(self, unit_ND: Tensor, draws: Tensor) -> Tensor:
        centroids = _plus_plus(unit_ND, draws)
        for _ in range(self.config.start_iterations):
            centroids, _ = _lloyd(unit_ND, centroids)
        return centroids

    def _follow(self, unit_ND: Tensor, state: ClusterState) -> ClusterState:
        config = self.config
        target, counts = _lloyd(unit_ND, state.centroids)
        centroids = _unit(torch.lerp(state.centroids, target, running_weight(state.frames, config.momentum)))
        empty = counts < max(1.0, config.dead_share * unit_ND.shape[0])
        empty_frames = torch.where(empty, state.empty_frames + 1, 0)
        followed = ClusterState(centroids, empty_frames, state.frames + 1, placed=True)
        return self._revive(unit_ND, followed) if config.momentum > 0 else followed

    def _revive(self, unit_ND: Tensor, state: ClusterState) -> ClusterState:
        """Start the cluster that was empty longest anew, if that is long enough; one a frame, on the worst token."""
        longest, which = state.empty_frames.max(0)
        worst = (unit_ND @ state.centroids.T).amax(1).argmin().reshape(1)
        indices = torch.arange(len(state.centroids), device=unit_ND.device)
        revived = (indices == which) & (longest >= self.config.dead_frames)
        centroids = torch.where(revived[:, None], unit_ND.index_select(0, worst), state.centroids)
        empty_frames = torch.where(revived, 0, state.empty_frames)
        return dataclasses.replace(state, centroids=centroids, empty_frames=empty_frames)


def labels_at(similarity: Tensor, height: int, width: int) -> Tensor:
    """Labels of every pixel: the similarities are resized bilinearly and the largest wins, the first of equal ones.

    Args:
        similarity: finite, floating point [h, w, K], from `OnlineKMeans` for example.
        height: rows wanted.
        width: columns wanted.

    Returns:
        [height, width] on the same device: uint8 up to 254 clusters (255 stays free for unlabelled), else int32.
    """
    if similarity.device.type == "cpu":
        return torch.from_numpy(labels_by_cells(similarity.detach().float().numpy(), height, width))
    return labels_by_resizing(similarity, height, width)


def labels_by_resizing(similarity: Tensor, height: int, width: int) -> Tensor:
    """What `labels_at` does, computed for all clusters at all pixels: nothing is read back from the device."""
    clusters = similarity.shape[-1]
    best = torch.full((height, width), -torch.inf, device=similarity.device)
    labels = torch.zeros(height, width, dtype=torch.uint8 if clusters <= 254 else torch.int32, device=best.device)
    # A few at a time, or a thousand clusters of a large image would take gigabytes.
    for start in range(0, clusters, RESIZED_AT_ONCE):
        some = similarity[..., start : start + RESIZED_AT_ONCE].permute(2, 0, 1)[None].contiguous()
        image = functional.interpolate(some, size=(height, width), mode="bilinear", align_corners=False)[0]
        for index, layer in enumerate(image, start=start):
            labels.masked_fill_(layer > best, index)
            torch.maximum(best, layer, out=best)
    return labels


def _plus_plus(unit_ND: Tensor, draws: Tensor) -> Tensor:
    """k-means++: centres drawn one by one with a probability that grows with the distance to those before."""
    distance = torch.ones_like(unit_ND[:, 0])
    chosen = []
    for draw in draws:
        cumulative = distance.cumsum(0)
        # The first token whose cumulative distance exceeds the draw: one at distance 0 is never drawn.
        index = torch.searchsorted(cumulative, draw * cumulative[-1], right=True).clamp(max=len(unit_ND) - 1)
        chosen.append(unit_ND.index_select(0, index.reshape(1)))
        # Between unit vectors, 1 - cosine is half the squared distance.
        distance = torch.minimum(distance, (1 - unit_ND @ chosen[-1][0]).clamp(min=0))
    return torch.cat(chosen)


def _lloyd(unit_ND: Tensor, centroids_KD: Tensor) -> tuple[Tensor, Tensor]:
    """One Lloyd step: new unit centroids [K, D], the old one where a cluster is empty, and counts [K]."""
    labels = (unit_ND @ centroids_KD.T).argmax(1)
    member_NK = functional.one_hot(labels, len(centroids_KD)).to(unit_ND.dtype)
    counts = member_NK.sum(0)
    return torch.where(counts[:, None] > 0, _unit(member_NK.T @ unit_ND), centroids_KD), counts


def _unit(x: Tensor) -> Tensor:
    # Features that equal the mean (a constant image) stay zero: similar to no cluster, label 0.
    return functional.normalize(x, dim=-1, eps=1e-6)
