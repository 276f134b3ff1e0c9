"""What is made of one camera's features: the arrays that are published, with the statistics that they follow.

Shape legend: H W the camera's image, h w patch rows and columns, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rvm_model.engines import EngineInfo
from rvm_model.heads.clusters import ClusterConfig, ClusterState, OnlineKMeans, labels_at
from rvm_model.heads.palette import overlay, palette
from rvm_model.heads.pca import PCAConfig, PCAState, StreamingPCA
from rvm_model.preprocess import as_tensor, resize
from rvm_model.snapshot import Remembered, SnapshotError, put_together, take_apart

_FOLLOWED = {"pca": PCAState, "clusters": ClusterState}
"""What the heads follow, by head."""


@dataclass(frozen=True)
class Wanted:
    """Which outputs of a camera somebody listens to; the others are not computed."""

    features: bool = False
    cls_token: bool = False
    pca: bool = False
    segmentation: bool = False
    overlay: bool = False

    @property
    def tensors(self) -> bool:
        """Whether something of the features themselves is wanted."""
        return self.features or self.cls_token

    @property
    def pictures(self) -> bool:
        """Whether something that is drawn at the image's size is wanted."""
        return self.pca or self.segmentation or self.overlay


@dataclass(frozen=True)
class Outputs:
    """Outputs of one frame as arrays on the host; None where it was not wanted."""

    features: npt.NDArray[np.float32] | None = None
    """[h, w, D]."""
    cls_token: npt.NDArray[np.float32] | None = None
    """[1, 1, D]."""
    pca: npt.NDArray[np.uint8] | None = None
    """RGB [H, W, 3]; smaller where `picture_height` says so."""
    segmentation: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None = None
    """Labels [H, W] at the input's size; uint16 above 254 clusters."""
    overlay: npt.NDArray[np.uint8] | None = None
    """The input with the labels' colours over it, RGB of the size of `pca`."""


@dataclass(frozen=True)
class HeadsConfig:
    """How the heads read the features."""

    pca: PCAConfig = field(default_factory=PCAConfig)
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    overlay_alpha: float = 0.5
    """Share of the label's colour in the overlay, 0..1."""
    picture_height: int = 0
    """Most rows of the PCA picture and the overlay, which are for people; 0 gives them the input's size."""

    def __post_init__(self) -> None:
        """Refuse a share outside 0..1 and a height below 0."""
        if not 0.0 <= self.overlay_alpha <= 1.0:
            raise ValueError(f"overlay_alpha: got {self.overlay_alpha}, expected 0..1")
        if self.picture_height < 0:
            raise ValueError(f"picture_height: got {self.picture_height}, expected 0 or more rows")


@dataclass(frozen=True)
class Label:
    """One value of the segmentation."""

    id: int
    """The value."""
    name: str
    """For people."""
    colour: tuple[int, int, int]
    """Red, green and blue in the overlay, 0..255."""


@dataclass(frozen=True)
class LabelTable:
    """What the values of the segmentation mean."""

    source: str
    """Which head gives them."""
    labels: tuple[Label, ...]
    """Every value that there may be, but the one below."""
    unlabelled: int
    """The value of pixels without a label: 255, or 65535 above 254 labels."""


def tensors(info: EngineInfo, features: Tensor, wanted: Wanted) -> Outputs:
    """The features themselves, where wanted; nothing of a camera is followed for them.

    Args:
        info: the engine that they are from.
        features: [1 + N, D] on any device.
        wanted: what to fetch.
    """
    return Outputs(
        features=_host(features[1:].unflatten(0, info.grid)) if wanted.features else None,
        cls_token=_host(features[:1, None]) if wanted.cls_token else None,
    )


class CameraHeads:
    """The heads of one camera. For one thread at a time."""

    def __init__(self, info: EngineInfo, config: HeadsConfig) -> None:
        """Start without a past.

        Args:
            info: the engine that the features come from.
            config: how they are read.
        """
        self.info = info
        self.config = config
        self._pca = StreamingPCA(config.pca)
        self._clusters = OnlineKMeans(config.clusters)
        self._palette = torch.as_tensor(palette(config.clusters.clusters), device=info.device)
        self._pca_state: PCAState | None = None
        self._cluster_state: ClusterState | None = None

    @torch.inference_mode()
    def draw(self, frame: npt.NDArray[np.uint8], features: Tensor, wanted: Wanted) -> Outputs:
        """Draw the pictures that are wanted of one frame.

        Args:
            frame: the camera's image, uint8 RGB [H, W, 3].
            features: [1 + N, D] from the engine; the caller's until this returns.
            wanted: what to compute.
        """
        height, width = frame.shape[:2]
        shown = self._shown(height, width)
        tokens = features[1:].unflatten(0, self.info.grid)
        pca = labels = colours = None
        if wanted.pca:
            rgb, self._pca_state = self._pca(tokens, self._pca_state)
            pca = _host(_enlarge(rgb.cpu(), *shown))
        if wanted.segmentation or wanted.overlay:
            similarity, self._cluster_state = self._clusters(tokens, self._cluster_state)
            if wanted.segmentation:
                labels = labels_at(similarity, height, width)
            if wanted.overlay:
                over = labels if labels is not None and shown == (height, width) else labels_at(similarity, *shown)
                image = resize(as_tensor(frame), *shown).to(over.device)
                colours = _host(overlay(image, over, self.config.overlay_alpha, self._palette))
        return Outputs(pca=pca, segmentation=None if labels is None else _label_array(labels), overlay=colours)

    @property
    def labels(self) -> LabelTable:
        """What the segmentation's values mean now."""
        count = self.config.clusters.clusters
        colours = [tuple(colour) for colour in palette(count).tolist()]
        labels = tuple(Label(index, f"cluster {index}", colour) for index, colour in enumerate(colours))
        return LabelTable("clusters", labels, unlabelled(count))

    def remember(self) -> dict[str, Remembered]:
        """What is followed, by head, for a snapshot."""
        followed = {"pca": self._pca_state, "clusters": self._cluster_state}
        return {head: take_apart(state) for head, state in followed.items() if state is not None}

    def recall(self, heads: Mapping[str, Remembered]) -> None:
        """Go on from what `remember` gave; what is followed now is dropped.

        Raises:
            SnapshotError: it is not what these heads follow; nothing is changed then.
        """
        if unknown := heads.keys() - _FOLLOWED.keys():
            raise SnapshotError(f"snapshot: got heads {sorted(unknown)}, expected some of {sorted(_FOLLOWED)}")
        states = {
            head: put_together(kind, heads[head], self.info.device) for head, kind in _FOLLOWED.items() if head in heads
        }
        self._pca_state, self._cluster_state = states.get("pca"), states.get("clusters")

    def forget(self) -> None:
        """Drop what was followed so far."""
        self._pca_state = self._cluster_state = None

    def _shown(self, height: int, width: int) -> tuple[int, int]:
        """Size of a picture for people."""
        most = self.config.picture_height
        if not most or height <= most:
            return height, width
        return most, max(1, round(width * most / height))


def unlabelled(labels: int) -> int:
    """The value of pixels without a label, where there are so many labels."""
    return 255 if labels <= 254 else 65535


def _enlarge(rgb: Tensor, height: int, width: int) -> Tensor:
    """uint8 [h, w, 3] on the CPU, where torch resizes bytes as they are, at a third of the time of floats."""
    image = functional.interpolate(rgb.permute(2, 0, 1)[None], size=(height, width), mode="bilinear")
    return image[0].permute(1, 2, 0)


def _label_array(labels: Tensor) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    array = labels.cpu().numpy()
    return array if array.dtype == np.uint8 else array.astype(np.uint16)


def _host(tensor: Tensor) -> npt.NDArray[Any]:
    return np.ascontiguousarray(tensor.cpu().numpy())
