"""Frames of several cameras in, features and pictures out: what the node and the offline tools both run.

Shape legend: H W input image sides, h w patch rows and columns, D feature width.
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

from rvm_model.engines import CameraStates, Engine
from rvm_model.heads.clusters import ClusterConfig, ClusterState, OnlineKMeans, labels_at
from rvm_model.heads.palette import overlay, palette
from rvm_model.heads.pca import PCAConfig, PCAState, StreamingPCA
from rvm_model.heads.tokens import LARGEST
from rvm_model.preprocess import as_tensor, preprocess


@dataclass(frozen=True)
class Wanted:
    """Which outputs of a camera somebody listens to; the others are not computed."""

    features: bool = False
    cls_token: bool = False
    pca: bool = False
    segmentation: bool = False
    overlay: bool = False


@dataclass(frozen=True)
class Outputs:
    """Outputs of one frame as arrays on the host; None where it was not wanted."""

    features: npt.NDArray[np.float32] | None = None
    """[h, w, D]."""
    cls_token: npt.NDArray[np.float32] | None = None
    """[1, 1, D]."""
    pca: npt.NDArray[np.uint8] | None = None
    """RGB [H, W, 3] at the input's size."""
    segmentation: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None = None
    """Labels [H, W] at the input's size; uint16 above 254 clusters."""
    overlay: npt.NDArray[np.uint8] | None = None
    """RGB [H, W, 3], the input with the labels' colours over it."""


@dataclass
class _HeadStates:
    pca: PCAState | None = None
    clusters: ClusterState | None = None


@dataclass(frozen=True)
class PerceptionConfig:
    """How the heads read the features."""

    pca: PCAConfig = field(default_factory=PCAConfig)
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    overlay_alpha: float = 0.5
    """Share of the label's colour in the overlay, 0..1."""

    def __post_init__(self) -> None:
        """Refuse a share outside 0..1."""
        if not 0.0 <= self.overlay_alpha <= 1.0:
            raise ValueError(f"overlay_alpha: got {self.overlay_alpha}, expected 0..1")


class Perception:
    """An engine, the state of every camera, and the heads with their running statistics per camera."""

    def __init__(self, engine: Engine, config: PerceptionConfig) -> None:
        self.engine = engine
        self.config = config
        self.states = CameraStates(engine)
        self._pca = StreamingPCA(config.pca)
        self._clusters = OnlineKMeans(config.clusters)
        self._palette = torch.as_tensor(palette(config.clusters.clusters), device=engine.info.device)
        self._heads: dict[str, _HeadStates] = {}

    def warm_up(self, cameras: int) -> None:
        """Run the engine before the first frames come, so that they find all of it ready, and enough memory.

        On CUDA every batch up to this many cameras is run twice: each has a graph in either direction, captured when it
        is first needed. On a CPU nothing is kept, and the largest batch is run once. No camera's state is touched.

        Raises:
            ValueError: the engine does not take as many cameras.
        """
        info = self.engine.info
        captured = info.device.startswith("cuda")
        for batch in range(1, cameras + 1) if captured else (cameras,):
            frames = torch.zeros(batch, info.height, info.width, 3, dtype=torch.uint8, device=info.device)
            state = self.engine.init_state(batch)
            for _ in range(2 if captured else 1):
                _, state = self.engine.step(frames, state)

    def prepare(self, frames: Mapping[str, npt.NDArray[np.uint8]]) -> Tensor:
        """Resize frames (camera to uint8 RGB [H, W, 3]) into one batch on the engine's device."""
        info = self.engine.info
        return preprocess(list(frames.values()), (info.height, info.width), info.device)

    def encode(self, cameras: list[str], batch: Tensor) -> dict[str, Tensor]:
        """Advance the cameras' states by the prepared batch; returns camera to features [1 + N, D]."""
        return dict(zip(cameras, self.states.step(cameras, batch), strict=True))

    def sound(self, features: Mapping[str, Tensor]) -> dict[str, bool]:
        """Whether each camera's features (camera to [1 + N, D] of `encode`) are finite, and not beyond all measure.

        Features that are not are in the camera's state too, and would stay there for ever.
        """
        largest = torch.stack([each.abs().amax() for each in features.values()])
        return dict(zip(features, (largest < LARGEST).tolist(), strict=True))  # NaN is less than nothing.

    @torch.inference_mode()
    def render(self, camera: str, frame: npt.NDArray[np.uint8], features: Tensor, wanted: Wanted) -> Outputs:
        """Compute what is wanted of one camera's features.

        Args:
            camera: its name; the heads keep their statistics per camera, over resets of the state.
            frame: the camera's image, uint8 RGB [H, W, 3].
            features: [1 + N, D] from `encode`.
            wanted: what to compute.
        """
        height, width = frame.shape[:2]
        tokens = features[1:].unflatten(0, self.engine.info.grid)
        heads = self._heads.setdefault(camera, _HeadStates())
        pca = labels = colours = None
        if wanted.pca:
            rgb, heads.pca = self._pca(tokens, heads.pca)
            pca = _host(_enlarge(rgb.cpu(), height, width))
        if wanted.segmentation or wanted.overlay:
            similarity, heads.clusters = self._clusters(tokens, heads.clusters)
            labels = labels_at(similarity, height, width)
        if wanted.overlay and labels is not None:
            image = as_tensor(frame).to(labels.device)
            colours = _host(overlay(image, labels, self.config.overlay_alpha, self._palette))
        return Outputs(
            features=_host(tokens) if wanted.features else None,
            cls_token=_host(features[:1, None]) if wanted.cls_token else None,
            pca=pca,
            segmentation=_label_array(labels) if wanted.segmentation and labels is not None else None,
            overlay=colours,
        )

    def forget(self, camera: str) -> None:
        """Drop one camera's state and its heads' statistics."""
        self.states.reset(camera)
        self.forget_heads(camera)

    def forget_heads(self, camera: str) -> None:
        """Drop the statistics of one camera's heads, and keep its state."""
        self._heads.pop(camera, None)


def _enlarge(rgb: Tensor, height: int, width: int) -> Tensor:
    """uint8 [h, w, 3] on the CPU, where torch resizes bytes as they are, at a third of the time of floats."""
    image = functional.interpolate(rgb.permute(2, 0, 1)[None], size=(height, width), mode="bilinear")
    return image[0].permute(1, 2, 0)


def _label_array(labels: Tensor) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    array = labels.cpu().numpy()
    return array if array.dtype == np.uint8 else array.astype(np.uint16)


def _host(tensor: Tensor) -> npt.NDArray[Any]:
    return np.ascontiguousarray(tensor.cpu().numpy())
