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
        self._ages: dict[str, int] = {}
        # States of the cameras of the last step lie in its batch, as the engine returned it; those of the others here.
        self._batch: tuple[tuple[str, ...], Tensor] | None = None
        self._others: dict[str, Tensor] = {}

    def age(self, camera: str) -> int:
        """Frames that the camera's state has taken in since its last reset."""
        return self._ages.get(camera, 0)

    def reset(self, *cameras: str) -> None:
        """Forget the past of these cameras; the others keep theirs."""
        if self._batch is not None and set(self._batch[0]) <= set(cameras):
            self._batch = None  # Nothing of it is kept, so nothing is copied.
        if self._batch is not None and not set(self._batch[0]).isdisjoint(cameras):
            self._scatter()
        for camera in cameras:
            self._others.pop(camera, None)
            self._ages.pop(camera, None)

    @torch.inference_mode()
    def decay(self, camera: str, factor: float) -> None:
        """Fade one camera's state towards zeros, the state without a past, by a factor in 0..1; its age stays."""
        self._scatter()
        if camera in self._others:
            self._others[camera] = self._others[camera] * factor

    def get(self, camera: str) -> Tensor | None:
        """A copy of one camera's state [1, 1 + N, D]; None where it starts from zeros."""
        self._scatter()
        state = self._others.get(camera)
        return None if state is None else state.clone()

    def put(self, camera: str, state: Tensor, age: int) -> None:
        """Let a camera go on from a state of `get`.

        Args:
            camera: its name.
            state: float32 [1, 1 + N, D], copied to the engine's device.
            age: frames that it has taken in.

        Raises:
            ValueError: another shape or type than this engine's.
        """
        info = self._engine.info
        expected = (1, info.tokens, info.dim)
        if state.dtype != torch.float32 or tuple(state.shape) != expected:
            raise ValueError(f"state: got {state.dtype} {tuple(state.shape)}, expected float32 {expected}")
        self.reset(camera)
        self._others[camera] = state.to(info.device, copy=True)
        self._ages[camera] = age

    @torch.inference_mode()
    def step(self, cameras: Sequence[str], frames: Tensor) -> Tensor:
        """Advance the given cameras by one frame each, in one batch.

        Args:
            cameras: names, each once, in the order of the batch.
            frames: uint8 [B, H, W, 3] on the engine's device.

        Returns:
            features float32 [B, 1 + N, D], which hold until the next step.

        Raises:
            ValueError: the number of names and frames differs, a name is given twice, or the frames do not fit.
        """
        names = tuple(cameras)
        if len(names) != frames.shape[0] or len(set(names)) != len(names):
            raise ValueError(
                f"cameras: got {list(names)} for {frames.shape[0]} frames, expected each camera once and as many frames"
            )
        if self._batch is not None and self._batch[0] == names:
            state = self._batch[1]  # As it was returned: an engine knows its own buffer, and nothing is copied.
        else:
            self._scatter()
            zeros = self._engine.init_state(1)
            state = torch.cat([self._others.get(name, zeros) for name in names])
        features, new_state = self._engine.step(frames, state)
        self._batch = names, new_state
        for name in names:
            self._others.pop(name, None)
            self._ages[name] = self.age(name) + 1
        return features

    def _scatter(self) -> None:
        """Copy the last batch's states out of the engine's memory, which another batch may overwrite."""
        if self._batch is not None:
            names, state = self._batch
            self._others.update(zip(names, state.clone().split(1), strict=True))
            self._batch = None
