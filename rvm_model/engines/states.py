"""The recurrent states of several cameras, gathered into a batch for one step and scattered back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rvm_model.engines.base import Engine


class CameraStates:
    """State of each camera by name. A camera that was never seen, or was reset, starts from zeros."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._states: dict[str, Tensor] = {}
        self._ages: dict[str, int] = {}

    def age(self, camera: str) -> int:
        """Frames that the camera's state has taken in since its last reset."""
        return self._ages.get(camera, 0)

    def reset(self, camera: str) -> None:
        """Forget one camera's past; the others keep theirs."""
        self._states.pop(camera, None)
        self._ages.pop(camera, None)

    @torch.inference_mode()
    def step(self, cameras: Sequence[str], frames: Tensor) -> Tensor:
        """Advance the given cameras by one frame each, in one batch.

        Args:
            cameras: names, each once, in the order of the batch.
            frames: uint8 [B, H, W, 3] on the engine's device.

        Returns:
            features float32 [B, 1 + N, D].

        Raises:
            ValueError: the number of names and frames differs, a name is given twice, or the frames do not fit.
        """
        if len(cameras) != frames.shape[0] or len(set(cameras)) != len(cameras):
            raise ValueError(
                f"cameras: got {list(cameras)} for {frames.shape[0]} frames, expected each camera once "
                "and as many frames"
            )
        missing = [camera for camera in cameras if camera not in self._states]
        if missing:
            self._states.update(zip(missing, self._engine.init_state(len(missing)).split(1), strict=True))
        # With one camera its own tensor is used as it is; torch.cat copies only for a real batch.
        rows = [self._states[camera] for camera in cameras]
        features, state = self._engine.step(frames, rows[0] if len(rows) == 1 else torch.cat(rows))
        for camera, row in zip(cameras, state.split(1), strict=True):
            self._states[camera] = row
            self._ages[camera] = self.age(camera) + 1
        return features
