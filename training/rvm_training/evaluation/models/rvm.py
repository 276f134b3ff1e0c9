"""RVM for evaluation: any engine, with the recurrence or started anew at every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from rvm_model.engines import Engine
from rvm_model.preprocess import as_tensor
from rvm_training.evaluation.models.base import ModelInfo, Video, VideoModel


class RecurrentModel(VideoModel):
    """The features that the robot would have: one frame after the other, the state from zeros at the first."""

    def __init__(self, engine: Engine, name: str, *, recurrent: bool = True) -> None:
        """Evaluate an engine.

        Args:
            engine: runs the step.
            name: what tables call it.
            recurrent: False starts every frame from zeros, so that it knows nothing of those before.
        """
        info = engine.info
        super().__init__(
            ModelInfo(
                name,
                "recurrent" if recurrent else "frame by frame",
                info.weights,
                info.trained,
                info.arithmetic,
                f"{info.kind} on {info.place}",
                info.patch_size,
            ),
            (info.height, info.width),
        )
        self._engine, self._recurrent = engine, recurrent

    def frame_by_frame(self, name: str) -> RecurrentModel:
        """The same network, which starts every frame from zeros."""
        return RecurrentModel(self._engine, name, recurrent=False)

    @torch.inference_mode()
    def features(self, frames: Video) -> Tensor:
        """Feature maps [T, h, w, D]; see `VideoModel.features`."""
        self.check(frames)
        engine = self._engine
        maps = []
        state = start = engine.init_state(1)
        for frame in frames:
            features, state = engine.step(as_tensor(frame)[None].to(engine.info.device), state)
            maps.append(features[0, 1:].clone())  # It holds until the next step only.
            if not self._recurrent:
                state = start
        return torch.stack(maps).unflatten(1, self.grid)
