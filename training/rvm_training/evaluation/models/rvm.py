"""RVM for evaluation: any engine, with the recurrence or started anew at every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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

    def features(self, frames: Video) -> Tensor:
        """Feature maps [T, h, w, D]; see `VideoModel.features`."""
        return self.features_of_several([frames])[0]

    @torch.inference_mode()
    def features_of_several(self, videos: Sequence[Video]) -> list[Tensor]:
        """Feature maps of videos that go through the network side by side; see `VideoModel.features_of_several`."""
        for video in videos:
            self.check(video)
        at_once = self._engine.info.cameras or len(videos)
        found: list[Tensor] = []
        for first in range(0, len(videos), at_once):
            found += self._side_by_side(torch.stack([as_tensor(each) for each in videos[first : first + at_once]]))
        return found

    def _side_by_side(self, videos: Tensor) -> Iterator[Tensor]:
        engine = self._engine
        maps = []
        state = start = engine.init_state(len(videos))
        for frames in videos.unbind(1):
            features, state = engine.step(frames.contiguous().to(engine.info.device), state)
            maps.append(features[:, 1:].clone())  # It holds until the next step only.
            if not self._recurrent:
                state = start
        return iter(torch.stack(maps, 1).unflatten(2, self.grid))
