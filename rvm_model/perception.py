"""Frames of several cameras in, features of each out: what the node and the offline tools both run.

Shape legend: H W input image sides, N patches, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rvm_model.engines import CameraStates, Engine
from rvm_model.heads.tokens import LARGEST
from rvm_model.preprocess import preprocess


class Perception:
    """An engine and the state of every camera."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.states = CameraStates(engine)

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
        if self.engine.info.device == "cpu":
            # By numpy: to wake torch's threads takes longer than to look.
            arrays = {camera: each.numpy() for camera, each in features.items()}
            return {camera: bool(each.min() > -LARGEST and each.max() < LARGEST) for camera, each in arrays.items()}
        largest = torch.stack([each.abs().amax() for each in features.values()])
        return dict(zip(features, (largest < LARGEST).tolist(), strict=True))  # NaN is less than nothing.
